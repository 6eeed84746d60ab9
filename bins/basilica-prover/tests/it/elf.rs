//! The file must run on any node with glibc 2.34 or later (RULES R17).

use std::collections::BTreeSet;

const SYMBOL_VERSION_MAX: (u32, u32) = (2, 34);
const LIBRARIES: [&str; 4] = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"];

const ET_DYN: u16 = 3;
const SHT_DYNAMIC: u32 = 6;
const SHT_GNU_VERNEED: u32 = 0x6fff_fffe;
const DT_NEEDED: u64 = 1;

/// Just enough of ELF64, little-endian, to read what a file needs from the system.
struct Elf(Vec<u8>);

struct Section {
    kind: u32,
    offset: usize,
    size: usize,
    link: usize,
}

impl Elf {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap())
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn text(&self, at: usize) -> String {
        let end = self.0[at..].iter().position(|byte| *byte == 0).unwrap();
        String::from_utf8(self.0[at..at + end].to_vec()).unwrap()
    }

    fn sections(&self) -> Vec<Section> {
        let (table, size) = (usize::try_from(self.u64(0x28)).unwrap(), usize::from(self.u16(0x3a)));
        (0..usize::from(self.u16(0x3c)))
            .map(|number| {
                let at = table + number * size;
                Section {
                    kind: self.u32(at + 4),
                    offset: usize::try_from(self.u64(at + 0x18)).unwrap(),
                    size: usize::try_from(self.u64(at + 0x20)).unwrap(),
                    link: self.u32(at + 0x28) as usize,
                }
            })
            .collect()
    }

    fn libraries(&self) -> BTreeSet<String> {
        let sections = self.sections();
        let dynamic = sections.iter().find(|section| section.kind == SHT_DYNAMIC).expect("a dynamic section");
        let names = sections[dynamic.link].offset;
        (dynamic.offset..dynamic.offset + dynamic.size)
            .step_by(16)
            .filter(|at| self.u64(*at) == DT_NEEDED)
            .map(|at| self.text(names + usize::try_from(self.u64(at + 8)).unwrap()))
            .collect()
    }

    fn symbol_versions(&self) -> BTreeSet<String> {
        let sections = self.sections();
        let needed =
            sections.iter().find(|section| section.kind == SHT_GNU_VERNEED).expect("symbol versions");
        let names = sections[needed.link].offset;
        let mut versions = BTreeSet::new();
        let mut file = needed.offset;
        loop {
            let mut entry = file + self.u32(file + 8) as usize;
            for _ in 0..self.u16(file + 2) {
                versions.insert(self.text(names + self.u32(entry + 8) as usize));
                entry += self.u32(entry + 12) as usize;
            }
            match self.u32(file + 12) as usize {
                0 => return versions,
                next => file += next,
            }
        }
    }
}

fn prover() -> Elf {
    Elf(std::fs::read(env!("CARGO_BIN_EXE_basilica-prover")).unwrap())
}

#[test]
fn the_file_is_a_position_independent_program_that_needs_only_the_c_library() {
    let elf = prover();
    assert_eq!(&elf.0[..4], b"\x7fELF");
    assert_eq!(elf.u16(0x10), ET_DYN);
    let libraries = elf.libraries();
    assert!(libraries.contains("libc.so.6"), "{libraries:?}");
    let foreign: Vec<_> = libraries.iter().filter(|name| !LIBRARIES.contains(&name.as_str())).collect();
    assert!(foreign.is_empty(), "needs {foreign:?}");
}

#[test]
fn no_symbol_is_newer_than_glibc_2_34() {
    let versions = prover().symbol_versions();
    let glibc: Vec<_> = versions.iter().filter_map(|version| version.strip_prefix("GLIBC_")).collect();
    assert!(!glibc.is_empty(), "{versions:?}");
    for version in glibc {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap());
        let parsed = (parts.next().unwrap(), parts.next().unwrap());
        assert!(parsed <= SYMBOL_VERSION_MAX, "GLIBC_{version} is needed");
    }
}
