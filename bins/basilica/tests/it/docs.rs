//! The commands of `docs/wallets.md`, run as they stand.

use super::Home;

#[test]
fn every_command_of_the_documentation_works() {
    let home = Home::new();
    home.file("password", "correct horse\n", 0o600);
    home.file("words", "bottom drive obey lake curtain smoke basket hold race lonely fit walk\n", 0o600);
    let made = home.run(&["import", "coldkey", "--wallet-name", "was", "--uri", "//Bob", "--no-password"]);
    made.good();
    std::fs::copy(home.wallets("was/coldkey"), home.path("old-keyfile")).unwrap();
    let documentation = include_str!("../../../../docs/wallets.md");
    let mut commands = 0;
    for line in documentation.lines().filter_map(|line| line.strip_prefix("$ basilica wallet ")) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let output = home.command(&arguments).current_dir(home.path("")).output().unwrap();
        home.ended(output).good();
        commands += 1;
    }
    assert_eq!(commands, 9, "the documentation's commands are found");
}
