//! NVIDIA's run-time compiler as a library: CUDA C in, PTX out. No device and no driver take part.
#![expect(unsafe_code, reason = "a C interface; every use says why it is sound")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use crate::command::Failure;

type Program = *mut c_void;
type Text = *const c_char;

/// A source file by the name under which others include it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: CString,
    pub(crate) text: CString,
}

/// The library, open.
pub(crate) struct Compiler {
    create: unsafe extern "C" fn(*mut Program, Text, Text, c_int, *const Text, *const Text) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const Text) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    _library: libloading::Library,
}

fn failed(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::Broken(format!("NVRTC: {what}: {why}"))
}

impl Compiler {
    /// Opens `libnvrtc.so.12`.
    pub(crate) fn open(library: &Path) -> Result<Self, Failure> {
        // SAFETY: NVIDIA's library, whose initialisers may run at any time.
        let opened = unsafe { libloading::Library::new(library) }
            .map_err(|error| failed("cannot be opened", error))?;
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the field's type is the function's in nvrtc.h, and the library is kept beside it.
                *unsafe { opened.get($name) }.map_err(|error| failed("lacks a function", error))?
            };
        }
        Ok(Self {
            create: function!(b"nvrtcCreateProgram"),
            compile: function!(b"nvrtcCompileProgram"),
            log_size: function!(b"nvrtcGetProgramLogSize"),
            log: function!(b"nvrtcGetProgramLog"),
            ptx_size: function!(b"nvrtcGetPTXSize"),
            ptx: function!(b"nvrtcGetPTX"),
            destroy: function!(b"nvrtcDestroyProgram"),
            _library: opened,
        })
    }

    /// Compiles `main`, which may include `others`.
    pub(crate) fn ptx(&self, main: &Source, others: &[Source], options: &[&CStr]) -> Result<String, Failure> {
        let count = |length: usize| c_int::try_from(length).expect("a handful");
        let names: Vec<Text> = others.iter().map(|source| source.name.as_ptr()).collect();
        let texts: Vec<Text> = others.iter().map(|source| source.text.as_ptr()).collect();
        let options: Vec<Text> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: all texts end with zero and outlive the program, both lists have as many entries as is said.
        let code = unsafe {
            (self.create)(
                &raw mut program,
                main.text.as_ptr(),
                main.name.as_ptr(),
                count(others.len()),
                texts.as_ptr(),
                names.as_ptr(),
            )
        };
        if code != 0 {
            return Err(failed("cannot take the sources", format!("nvrtcResult {code}")));
        }
        // SAFETY: the program is alive; the list has as many entries as is said.
        let code = unsafe { (self.compile)(program, count(options.len()), options.as_ptr()) };
        let result = if code == 0 {
            self.text(program, self.ptx_size, self.ptx)
        } else {
            self.text(program, self.log_size, self.log).and_then(|log| {
                Err(failed("does not accept the kernels", format!("nvrtcResult {code}\n{log}")))
            })
        };
        // SAFETY: the program is alive and not used again.
        let _ = unsafe { (self.destroy)(&raw mut program) };
        result
    }

    /// A text of the program whose size one function gives and whose bytes another.
    fn text(
        &self,
        program: Program,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        read: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Result<String, Failure> {
        let mut length = 0;
        // SAFETY: the program is alive; the pointer is to a number that outlives the call.
        let code = unsafe { size(program, &raw mut length) };
        let mut bytes = vec![0u8; length + 1];
        // SAFETY: the buffer has at least as many bytes as the library has said it writes.
        if code != 0 || unsafe { read(program, bytes.as_mut_ptr().cast()) } != 0 {
            return Err(failed("gives no text", format!("nvrtcResult {code}")));
        }
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        String::from_utf8(bytes).map_err(|error| failed("gives a text that is none", error))
    }
}
