//! The validators' own check, run by the doctor: with the real prover, a simulated GPU and a container engine that is played.

use std::sync::Arc;

use async_trait::async_trait;
use basilica_doctor_service::{Checked, judge};
use basilica_probing_service::{BeaconSource, Drawn, ProverFile};
use basilica_proof::residency::Cache;
use basilica_testkit::built;
use basilica_types::BlockHash;
use basilica_verification::{Break, GpuRules};

use super::world::World;
use super::wrong;

/// The same as that of a chain that stands still.
pub(crate) struct Still;

#[async_trait]
impl BeaconSource for Still {
    async fn draw(&self, cache_log2: Option<u8>) -> Result<Drawn, Break> {
        let beacon = [9; 32];
        Ok(Drawn { beacon, cache: cache_log2.map(|log2| Arc::new(Cache::new(beacon, log2))) })
    }
}

const UUID: &str = "GPU-5d2e8a3c-9b41-4f07-8a6e-0c1d2e3f4a5b";

/// `$TOOLKIT`, `$PULL` and `$ROOM` are set before it.
const PLAY: &str = r#"
mkdir -p /home/node/.config/basilica
printf '{"version":2,"machine":"%064d","devices":[{"index":0,"uuid":"%s","class":"simulated-H100"}]}' 7 "$UUID" >/home/node/.config/basilica/simulated-gpus.json
chown -R 4242:4242 /home/node/.config
cat >/usr/local/bin/docker <<END
#!/bin/sh
case "\$*" in
  *DockerRootDir*) echo /var/lib ;;
  *Runtimes*) echo 'nvidia runc ' ;;
  'info --format'*) echo '{"ServerVersion":"27.5.1","Driver":"overlay2"}' ;;
  'image inspect'*) exit $PULL ;;
  pull*) exit $PULL ;;
  run*) [ $TOOLKIT = 0 ] && echo 'GPU 0: simulated-H100 (UUID: $UUID)'; exit $TOOLKIT ;;
esac
END
cat >/usr/local/bin/df <<END
#!/bin/sh
case "\$*" in
  *-B1*) printf 'Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/vda1 %s 0 %s 0%% /\n' $ROOM $ROOM ;;
  *) exec /bin/df "\$@" ;;
esac
END
chmod 755 /usr/local/bin/docker /usr/local/bin/df
"#;

#[tokio::test]
async fn the_validators_check_passes_where_all_is_well_and_its_reasons_have_causes() {
    const WELL: &str = "TOOLKIT=0; PULL=0; ROOM=9000000000000";
    let cases: [(&str, &str, &[&str]); 4] = [
        ("proves", WELL, &[]),
        ("no-toolkit", "TOOLKIT=125; PULL=0; ROOM=9000000000000", &["docker-no-gpu"]),
        ("no-image", "TOOLKIT=0; PULL=1; ROOM=9000000000000", &["image-pull"]),
        ("no-room", "TOOLKIT=0; PULL=0; ROOM=1000000000", &["storage-small"]),
    ];
    let names: Vec<&str> = cases.iter().map(|(name, _, _)| *name).collect();
    let mut world = World::start_with(&names).await;
    world.prover = ProverFile::new(std::fs::read(built("basilica-prover")).unwrap());
    world.settings.addresses = basilica_ports::AddressPolicy::Any;
    world.settings.network_bytes = 0;
    let gpus = GpuRules::new(true, true, &BlockHash::from_bytes([9; 32]));
    for (name, vars, expected) in cases {
        world.run(name, &format!("UUID={UUID}; {vars}\n{PLAY}")).await;
        let seen = world.prove(name, &gpus).await;
        let found = judge(&seen);
        assert_eq!(wrong(&found), expected, "{name}: {found:#?}");
        let inside = seen.login.unwrap();
        assert!(matches!(inside.checked, Checked::Done(_)), "{name}: {:?}", inside.checked);
    }
}
