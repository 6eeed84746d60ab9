use std::process::{Child, Command};

/// Starts a program whose output nobody reads: the other end of its pipes was closed before, as in `program 2>&1 | true`.
pub fn spawn_unread(command: &mut Command) -> Child {
    let (reader, writer) = std::io::pipe().expect("a process may open a pipe");
    drop(reader);
    let second = writer.try_clone().expect("a process may open a pipe");
    command.stdout(writer).stderr(second).spawn().expect("the program can be started")
}
