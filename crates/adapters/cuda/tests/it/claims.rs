use std::path::Path;

use basilica_cuda::claims::{self, Claimed, ClaimsError};
use basilica_cuda::driver::{CudaError, Driver};
use basilica_cuda::nvml::{Nvml, NvmlError};

use crate::host;

/// What the kernel driver's file says of device 0, which is read through `text`.
fn beside(text: Option<&[u8]>) -> Result<Vec<Claimed>, ClaimsError> {
    let proc = tempfile::tempdir().unwrap();
    if let Some(text) = text {
        let folder = proc.path().join("0000:01:00.0");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("information"), text).unwrap();
    }
    claims::read(&host::driver(), &Nvml::load_from(basilica_cuda_host::nvml()).unwrap(), proc.path())
}

const HONEST: &str = "Model: \t\t Kernels on the host\nIRQ:   \t\t 87\n\
    GPU UUID: \t GPU-40414243-4445-4647-4849-4a4b4c4d4e00\nVideo BIOS: \t 96.00.74.00.1A\nBus Location: \t 0000:01:00.0\n";

#[test]
fn the_kernel_drivers_word_is_compared_where_there_is_any() {
    for text in [None, Some(HONEST), Some(""), Some("GPU UUID: GPU-????????-????-????-????-????????????\n")] {
        assert_eq!(beside(text.map(str::as_bytes)).unwrap().len(), 1, "{text:?}");
    }
    for (from, to, what) in
        [("4e00", "4e01", "uuid"), ("Kernels on the host", "NVIDIA H100 80GB HBM3", "name")]
    {
        let error = beside(Some(HONEST.replace(from, to).as_bytes())).unwrap_err();
        assert!(matches!(error, ClaimsError::Contradiction { what: named, .. } if named == what), "{error}");
        assert!(error.to_string().contains("/proc/driver/nvidia"), "{error}");
    }
}

#[test]
fn no_bytes_in_the_kernel_drivers_file_upset_the_reader() {
    for text in
        [&b"\xff\xfe\0\0"[..], &[b'A'; 100_000], b"GPU UUID:", b"Model\n:\nGPU UUID:\n:", &[b'\n'; 50_000]]
    {
        assert_eq!(beside(Some(text)).unwrap().len(), 1);
    }
}

#[test]
fn a_machine_without_a_driver_is_told_from_a_broken_one() {
    let missing = Driver::load_from(Path::new("/nonexistent/libcuda.so.1")).unwrap_err();
    assert!(missing.is_no_device(), "{missing}");
    let other = Driver::load_from(basilica_cuda_host::nvml()).unwrap_err();
    assert!(!other.is_no_device() && other.to_string().contains("has no function cuInit"), "{other}");
    assert!(matches!(other, CudaError::Library(_)));
    let nvml = Nvml::load_from(basilica_cuda_host::driver()).unwrap_err();
    assert!(matches!(nvml, NvmlError::Library(_)) && nvml.to_string().contains("nvmlInit"), "{nvml}");
}
