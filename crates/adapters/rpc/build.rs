//! Compiles `proto/` without an installed protoc. The correctly spelt packages are made from the misspelt ones here, so
//! that the two faces cannot drift apart, and share their Rust types.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost::Message as _;

const FILES: [&str; 2] = ["basilca/common/v1/common.proto", "basilca/miner/v1/miner.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let spelt = out.join("proto");
    for file in FILES {
        let target = spelt.join(file.replace("basilca", "basilica"));
        let text = fs::read_to_string(Path::new("proto").join(file))?.replace("basilca", "basilica");
        fs::create_dir_all(target.parent().ok_or("a proto file without a directory")?)?;
        fs::write(target, text)?;
    }
    let correctly_spelt = FILES.map(|file| file.replace("basilca", "basilica"));
    let files = FILES.into_iter().chain(correctly_spelt.iter().map(String::as_str));
    let descriptors = protox::Compiler::new([Path::new("proto"), &spelt])?
        .include_imports(true)
        .open_files(files)?
        .file_descriptor_set();
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".basilica.common.v1", "crate::protocol::common")
        .extern_path(".basilica.miner.v1", "crate::protocol::miner")
        .codec_path("crate::codec::BoundedCodec")
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)?;
    Ok(())
}
