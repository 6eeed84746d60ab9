//! Looks at every file, all the time.

use std::sync::Arc;
use std::time::Duration;

use basilica_ports::Clock as _;

use crate::hand::note;
use crate::world::World;

const BETWEEN: Duration = Duration::from_millis(2);
pub(crate) const LOOKS: &str = "looks at a file";
pub(crate) const CONTENTS: &str = "contents judged";

/// Until the reader is dropped.
pub(crate) async fn read(world: Arc<World>) {
    let mut last: Vec<Option<Vec<u8>>> = vec![None; world.sheets.len()];
    loop {
        look(&world, &mut last);
        tokio::time::sleep(BETWEEN).await;
    }
}

/// One look at each.
pub(crate) fn look(world: &World, last: &mut [Option<Vec<u8>>]) {
    for (node, sheet) in world.sheets.iter().enumerate() {
        let look = sheet.look(world.now());
        world.count(LOOKS);
        note(world, &look);
        let seconds = world.clock.now().as_secs();
        if last[node].as_ref() != Some(&look.content) {
            world.count(CONTENTS);
            last[node] = Some(look.content);
        }
        world.clerk().saw(node, &look.page.held, world.now());
        world.ledger.lock().unwrap().saw(node, look.page.held, seconds);
    }
}
