//! The program as a validator meets it: a file that is run, with frames on its pipes.

mod elf;
mod program;
