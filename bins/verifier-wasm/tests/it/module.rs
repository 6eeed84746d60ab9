//! The built module in an interpreter, and the golden transcripts.

use std::path::{Path, PathBuf};

use wasmi::{
    Config, Engine, Instance, Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TypedFunc,
};

/// What one call may spend: some thousand times what a golden transcript needs.
const FUEL: u64 = 50_000_000_000;

/// The module's file: beside the binaries, where `cargo xtask wasm` puts it.
pub(crate) fn path() -> PathBuf {
    let folder = match std::env::var_os("BASILICA_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        // target/PROFILE/deps/TEST
        None => std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned(),
    };
    let module = folder.join("basilica-verifier.wasm");
    assert!(module.is_file(), "{} is missing; `cargo xtask wasm` builds it", module.display());
    module
}

pub(crate) fn bytes() -> Vec<u8> {
    std::fs::read(path()).unwrap()
}

/// An instance of the module.
pub(crate) struct Verifier {
    store: Store<StoreLimits>,
    memory: Memory,
    allocate: TypedFunc<u32, u32>,
    verify: TypedFunc<(), u32>,
    answer_length: TypedFunc<(), u32>,
}

impl Verifier {
    pub(crate) fn new() -> Self {
        Self::within(usize::MAX)
    }

    /// One whose host grants so much memory and no more.
    pub(crate) fn within(memory: usize) -> Self {
        let mut config = Config::default();
        let engine = Engine::new(config.consume_fuel(true));
        let module = Module::new(&engine, bytes()).unwrap();
        let mut store = Store::new(&engine, StoreLimitsBuilder::new().memory_size(memory).build());
        store.limiter(|limits| limits);
        store.set_fuel(FUEL).unwrap();
        let instance: Instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
        let abi = instance.get_typed_func::<(), u32>(&store, "basilica_abi").unwrap();
        assert_eq!(abi.call(&mut store, ()).unwrap(), basilica_verifier_wasm::ABI);
        Self {
            memory: instance.get_memory(&store, "memory").unwrap(),
            allocate: instance.get_typed_func(&store, "basilica_allocate").unwrap(),
            verify: instance.get_typed_func(&store, "basilica_verify").unwrap(),
            answer_length: instance.get_typed_func(&store, "basilica_answer_length").unwrap(),
            store,
        }
    }

    /// The address that the module gives for a transcript of `length` bytes.
    pub(crate) fn allocate(&mut self, length: u32) -> u32 {
        self.store.set_fuel(FUEL).unwrap();
        self.allocate.call(&mut self.store, length).unwrap()
    }

    /// The answer to what stands in the buffer.
    pub(crate) fn verify(&mut self) -> String {
        self.store.set_fuel(FUEL).unwrap();
        let address = self.verify.call(&mut self.store, ()).expect("the module does not trap");
        let length = self.answer_length.call(&mut self.store, ()).unwrap();
        let mut answer = vec![0; length as usize];
        self.memory.read(&self.store, address as usize, &mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) fn answer(&mut self, transcript: &[u8]) -> String {
        let address = self.allocate(u32::try_from(transcript.len()).unwrap());
        assert_ne!(address, 0, "a buffer of {} bytes", transcript.len());
        self.memory.write(&mut self.store, address as usize, transcript).unwrap();
        self.verify()
    }

    pub(crate) fn pages(&self) -> u64 {
        self.memory.size(&self.store)
    }
}

/// Every transcript of the golden vectors, with its name.
pub(crate) fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/proof");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let vector: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        collect(&vector, &file.file_name().unwrap().to_string_lossy(), &mut found);
    }
    assert!(!found.is_empty(), "the vectors have a transcript");
    found
}

fn collect(value: &serde_json::Value, place: &str, found: &mut Vec<(String, Vec<u8>)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_str().filter(|_| name == "transcript") {
                    Some(text) => found.push((format!("{place}/{name}"), hex::decode(text).unwrap())),
                    None => collect(field, &format!("{place}/{name}"), found),
                }
            }
        }
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{place}/{index}"), found);
            }
        }
        _ => {}
    }
}
