//! The driver whose kernels run on this CPU.
#![expect(unsafe_code, reason = "calls functions of the test driver that are not of the driver API")]

use std::ffi::{CString, c_char, c_int};

use basilica_cuda::driver::{Device, Driver};

pub(crate) fn driver() -> Driver {
    Driver::load_from(basilica_cuda_host::driver()).unwrap()
}

pub(crate) fn device() -> Device {
    driver().devices().unwrap().remove(0)
}

fn library() -> libloading::Library {
    // SAFETY: our own library, whose initialisers do nothing.
    unsafe { libloading::Library::new(basilica_cuda_host::driver()) }.unwrap()
}

/// Objects and allocations that are alive.
pub(crate) fn live() -> c_int {
    let library = library();
    // SAFETY: the signature is that of driver.cpp.
    unsafe { library.get::<unsafe extern "C" fn() -> c_int>(b"basilica_host_live").unwrap()() }
}

/// Makes the next launch of `kernel` fail with `code`.
pub(crate) fn fail_next(kernel: &str, code: c_int) {
    let (library, kernel) = (library(), CString::new(kernel).unwrap());
    // SAFETY: the signature is that of driver.cpp; the name outlives the call.
    unsafe {
        library.get::<unsafe extern "C" fn(*const c_char, c_int) -> c_int>(b"basilica_host_fail").unwrap()(
            kernel.as_ptr(),
            code,
        );
    }
}

/// Flips a bit in every 32 bytes of the allocations of `bytes`, and gives their number.
pub(crate) fn damage(bytes: usize) -> c_int {
    let library = library();
    // SAFETY: the signature is that of driver.cpp.
    unsafe { library.get::<unsafe extern "C" fn(usize) -> c_int>(b"basilica_host_damage").unwrap()(bytes) }
}
