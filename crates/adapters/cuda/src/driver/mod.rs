//! The CUDA driver API, as much of it as the proof needs, behind types that cannot be misused.
//!
//! Every object frees what it holds when it is dropped, and keeps alive what it depends on: memory its context, a
//! function its module, all of them the library. Every call binds the context to the calling thread first, so that
//! objects can move between threads. Everything runs on the context's default stream: kernels start in order, and
//! reading memory back waits for those before it.

mod error;
mod functions;
mod memory;

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::Arc;

pub use error::CudaError;
pub use memory::{Buffer, HostBuffer};

use functions::{Functions, Handle};

/// The driver's library, as the dynamic linker knows it on every system with an NVIDIA driver.
const LIBRARY: &str = "libcuda.so.1";

/// The driver, loaded and initialised.
#[derive(Clone, Debug)]
pub struct Driver(Arc<Functions>);

impl Driver {
    /// Loads the system's driver.
    pub fn load() -> Result<Self, CudaError> {
        Self::named(LIBRARY.as_ref())
    }

    /// Loads a driver from a file: for tests, which have none of NVIDIA's.
    pub fn load_from(library: &Path) -> Result<Self, CudaError> {
        Self::named(library.as_os_str())
    }

    fn named(library: &OsStr) -> Result<Self, CudaError> {
        let functions = Functions::load(library)?;
        // SAFETY: takes a number only.
        functions.check("cuInit", unsafe { (functions.init)(0) })?;
        Ok(Self(Arc::new(functions)))
    }

    /// The CUDA version that the driver is made for, 12080 for 12.8.
    pub fn version(&self) -> Result<i32, CudaError> {
        let mut version = 0;
        // SAFETY: the pointer is to a number that outlives the call.
        self.0.check("cuDriverGetVersion", unsafe { (self.0.driver_version)(&raw mut version) })?;
        Ok(version)
    }

    /// All devices that this process may use, in the driver's order.
    pub fn devices(&self) -> Result<Vec<Device>, CudaError> {
        let mut count = 0;
        // SAFETY: the pointer is to a number that outlives the call.
        self.0.check("cuDeviceGetCount", unsafe { (self.0.device_count)(&raw mut count) })?;
        (0..count)
            .map(|ordinal| {
                let mut handle = 0;
                // SAFETY: as above.
                self.0.check("cuDeviceGet", unsafe { (self.0.device)(&raw mut handle, ordinal) })?;
                Ok(Device { functions: Arc::clone(&self.0), handle })
            })
            .collect()
    }
}

impl Functions {
    fn check(&self, call: &'static str, code: c_int) -> Result<(), CudaError> {
        if code == 0 {
            return Ok(());
        }
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: the pointer is to a pointer that outlives the call.
        let known = unsafe { (self.error_name)(code, &raw mut name) } == 0 && !name.is_null();
        let name = if known {
            // SAFETY: the driver gives a constant string, ended by a zero byte.
            unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
        } else {
            "an unknown code".to_owned()
        };
        Err(CudaError::Call { call, name, code })
    }
}

/// A number that the driver knows of a device (`CUdevice_attribute`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Attribute {
    /// Highest clock of the multiprocessors in kHz.
    ClockKhz = 13,
    /// Streaming multiprocessors.
    Multiprocessors = 16,
    /// Highest clock of the memory in kHz.
    MemoryClockKhz = 36,
    /// Width of the memory's bus in bits.
    MemoryBusBits = 37,
    /// Bytes of second-level cache.
    L2Bytes = 38,
    /// Compute capability, major.
    Major = 75,
    /// Compute capability, minor.
    Minor = 76,
    /// Most bytes of shared memory that a block can ask for.
    SharedMost = 97,
}

/// A device as the driver lists it.
#[derive(Clone, Debug)]
pub struct Device {
    functions: Arc<Functions>,
    handle: c_int,
}

impl Device {
    /// The product's name.
    pub fn name(&self) -> Result<String, CudaError> {
        self.text("cuDeviceGetName", self.functions.device_name)
    }

    /// PCI domain, bus, slot and function, as `0000:3B:00.0`.
    pub fn bus_id(&self) -> Result<String, CudaError> {
        self.text("cuDeviceGetPCIBusId", self.functions.device_bus_id)
    }

    fn text(
        &self,
        call: &'static str,
        function: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int,
    ) -> Result<String, CudaError> {
        const LENGTH: c_int = 128;
        let mut bytes = [0u8; LENGTH as usize];
        // SAFETY: the pointer is to as many bytes as the length says.
        self.functions.check(call, unsafe { function(bytes.as_mut_ptr().cast(), LENGTH, self.handle) })?;
        let text = CStr::from_bytes_until_nul(&bytes).map_err(|_| CudaError::Implausible { what: "text" })?;
        Ok(text.to_string_lossy().into_owned())
    }

    /// The UUID, which NVML prints as `GPU-…`.
    pub fn uuid(&self) -> Result<[u8; 16], CudaError> {
        let mut uuid = [0; 16];
        // SAFETY: the pointer is to 16 bytes that outlive the call.
        let code = unsafe { (self.functions.device_uuid)(&raw mut uuid, self.handle) };
        self.functions.check("cuDeviceGetUuid", code)?;
        Ok(uuid)
    }

    /// Bytes of memory in all.
    pub fn memory(&self) -> Result<u64, CudaError> {
        let mut bytes = 0usize;
        // SAFETY: the pointer is to a number that outlives the call.
        let code = unsafe { (self.functions.device_memory)(&raw mut bytes, self.handle) };
        self.functions.check("cuDeviceTotalMem", code)?;
        Ok(bytes as u64)
    }

    /// One number.
    pub fn attribute(&self, attribute: Attribute) -> Result<i32, CudaError> {
        let mut value = 0;
        // SAFETY: the pointer is to a number that outlives the call.
        let code =
            unsafe { (self.functions.device_attribute)(&raw mut value, attribute as c_int, self.handle) };
        self.functions.check("cuDeviceGetAttribute", code)?;
        Ok(value)
    }

    /// A context of our own on the device: memory, modules and the order of kernels.
    pub fn context(&self) -> Result<Context, CudaError> {
        /// The waiting thread sleeps: several devices must not spin away the node's cores.
        const BLOCKING_SYNC: c_uint = 4;
        /// Bytes that a miss of the second-level cache fetches: reads at random places are of 64.
        const FETCH_LIMIT: c_int = 5;
        let functions = &self.functions;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointer is to a pointer that outlives the call.
        let code = unsafe { (functions.context_create)(&raw mut handle, BLOCKING_SYNC, self.handle) };
        functions.check("cuCtxCreate", code)?;
        let context = Context(Arc::new(Bound { functions: Arc::clone(functions), handle }));
        // A hint, which not every device takes.
        // SAFETY: takes numbers only; the new context is bound.
        let _ = unsafe { (functions.context_limit)(FETCH_LIMIT, 64) };
        Ok(context)
    }
}

#[derive(Debug)]
struct Bound {
    functions: Arc<Functions>,
    handle: Handle,
}

// SAFETY: the driver API may be called from any thread, and a context may be current in several at once
// ("CUDA Driver API", Context Management).
unsafe impl Send for Bound {}
// SAFETY: as above.
unsafe impl Sync for Bound {}

impl Drop for Bound {
    fn drop(&mut self) {
        // An error here is that of a device already lost: there is nothing left to free.
        // SAFETY: the handle is from cuCtxCreate, and nothing that keeps this alive is left.
        let _ = unsafe { (self.functions.context_destroy)(self.handle) };
    }
}

/// A context; copies are the same one.
#[derive(Clone, Debug)]
pub struct Context(Arc<Bound>);

/// What kernels are launched with.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A 32-bit number.
    Word(u32),
    /// A 64-bit number or an address.
    Long(u64),
    /// The words of a key.
    Key([u32; 8]),
    /// The words of a struct of seven.
    Seven([u32; 7]),
}

/// Blocks, threads and shared memory of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Blocks in x and y.
    pub grid: (u32, u32),
    /// Threads per block.
    pub block: u32,
    /// Bytes of dynamic shared memory per block.
    pub shared: u32,
}

impl Context {
    /// Binds the context to this thread and gives the functions.
    fn bind(&self) -> Result<&Functions, CudaError> {
        let functions = &*self.0.functions;
        // SAFETY: the handle is from cuCtxCreate and alive.
        functions.check("cuCtxSetCurrent", unsafe { (functions.context_bind)(self.0.handle) })?;
        Ok(functions)
    }

    /// Bytes free and in all, as the driver sees them now.
    pub fn memory(&self) -> Result<(u64, u64), CudaError> {
        let functions = self.bind()?;
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: the pointers are to numbers that outlive the call.
        let code = unsafe { (functions.memory_info)(&raw mut free, &raw mut total) };
        functions.check("cuMemGetInfo", code)?;
        Ok((free as u64, total as u64))
    }

    /// Waits for everything launched, and tells if any of it failed.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        let functions = self.bind()?;
        // SAFETY: takes nothing.
        functions.check("cuCtxSynchronize", unsafe { (functions.context_synchronize)() })
    }

    /// Makes a module of PTX.
    pub fn module(&self, ptx: &CStr) -> Result<Module, CudaError> {
        const ERROR_LOG: c_int = 5;
        const ERROR_LOG_BYTES: c_int = 6;
        const LOG_BYTES: usize = 4_096;
        let functions = self.bind()?;
        let mut log = vec![0u8; LOG_BYTES + 1];
        let mut options = [ERROR_LOG, ERROR_LOG_BYTES];
        // The API takes numbers in the place of pointers.
        let mut values = [log.as_mut_ptr().cast::<c_void>(), std::ptr::without_provenance_mut(LOG_BYTES)];
        let mut handle = std::ptr::null_mut();
        // SAFETY: the image is text ended by zero, both lists have two entries, the log has the bytes it is said to
        // have, and all of them outlive the call.
        let code = unsafe {
            (functions.module_load)(
                &raw mut handle,
                ptx.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        functions.check("cuModuleLoadData", code).map_err(|source| {
            // Up to its end, or all of it if the driver forgot to write one.
            let text = log.split(|byte| *byte == 0).next().unwrap_or(&log);
            let log = String::from_utf8_lossy(text).trim().to_owned();
            CudaError::Kernels { log, source: Box::new(source) }
        })?;
        Ok(Module(Arc::new(Loaded { context: self.clone(), handle })))
    }

    /// A point in the order of kernels, to measure between.
    pub fn event(&self) -> Result<Event, CudaError> {
        let functions = self.bind()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointer is to a pointer that outlives the call.
        functions.check("cuEventCreate", unsafe { (functions.event_create)(&raw mut handle, 0) })?;
        let event = Event { context: self.clone(), handle };
        // SAFETY: the handle is alive; the null stream is the context's default one.
        let code = unsafe { (functions.event_record)(event.handle, std::ptr::null_mut()) };
        functions.check("cuEventRecord", code)?;
        Ok(event)
    }
}

#[derive(Debug)]
struct Loaded {
    context: Context,
    handle: Handle,
}

// SAFETY: see `Bound`.
unsafe impl Send for Loaded {}
// SAFETY: see `Bound`.
unsafe impl Sync for Loaded {}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Ok(functions) = self.context.bind() {
            // SAFETY: the handle is from cuModuleLoadData, and no function of it is left.
            let _ = unsafe { (functions.module_unload)(self.handle) };
        }
    }
}

/// Kernels in the device's own code; copies are the same module.
#[derive(Clone, Debug)]
pub struct Module(Arc<Loaded>);

impl Module {
    /// A kernel by name, which may use `shared` bytes of dynamic shared memory.
    pub fn function(&self, name: &CStr, shared: u32) -> Result<Function, CudaError> {
        const SHARED_MOST: c_int = 8;
        let functions = self.0.context.bind()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the module is alive, the name ends with zero, the pointer is to a pointer that outlives the call.
        let code = unsafe { (functions.module_function)(&raw mut handle, self.0.handle, name.as_ptr()) };
        functions.check("cuModuleGetFunction", code)?;
        let shared = c_int::try_from(shared).map_err(|_| CudaError::Implausible { what: "shared memory" })?;
        // SAFETY: the function is the module's.
        let code = unsafe { (functions.function_attribute)(handle, SHARED_MOST, shared) };
        functions.check("cuFuncSetAttribute", code)?;
        Ok(Function { module: self.clone(), handle })
    }
}

/// A kernel.
#[derive(Clone, Debug)]
pub struct Function {
    module: Module,
    handle: Handle,
}

// SAFETY: see `Bound`.
unsafe impl Send for Function {}
// SAFETY: see `Bound`.
unsafe impl Sync for Function {}

impl Function {
    /// Launches the kernel; it runs after all launched before.
    ///
    /// # Safety
    /// The arguments must be the kernel's, in number, order and size, and memory that they name must be as large as
    /// the kernel takes it to be and alive until the launch has ended.
    pub unsafe fn launch(&self, shape: Shape, mut arguments: Vec<Argument>) -> Result<(), CudaError> {
        let functions = self.module.0.context.bind()?;
        let mut pointers: Vec<*mut c_void> = arguments
            .iter_mut()
            .map(|argument| match argument {
                Argument::Word(word) => (&raw mut *word).cast(),
                Argument::Long(long) => (&raw mut *long).cast(),
                Argument::Key(key) => (&raw mut *key).cast(),
                Argument::Seven(words) => (&raw mut *words).cast(),
            })
            .collect();
        let Shape { grid: (x, y), block, shared } = shape;
        // SAFETY: the function is alive, the pointers are to values that outlive the call, which copies them; the
        // rest is the caller's promise.
        let code = unsafe {
            (functions.launch)(
                self.handle,
                x,
                y,
                1,
                block,
                1,
                1,
                shared,
                std::ptr::null_mut(),
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        functions.check("cuLaunchKernel", code)
    }
}

/// A point in the order of kernels.
#[derive(Debug)]
pub struct Event {
    context: Context,
    handle: Handle,
}

impl Event {
    /// Milliseconds that the device took from `earlier` to this; waits for this.
    pub fn since(&self, earlier: &Self) -> Result<f32, CudaError> {
        let functions = self.context.bind()?;
        let mut milliseconds = 0.0;
        // SAFETY: both handles are alive and recorded; the pointer is to a number that outlives the call.
        unsafe {
            functions.check("cuEventSynchronize", (functions.event_synchronize)(self.handle))?;
            let code = (functions.event_elapsed)(&raw mut milliseconds, earlier.handle, self.handle);
            functions.check("cuEventElapsedTime", code)?;
        }
        Ok(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(functions) = self.context.bind() {
            // SAFETY: the handle is from cuEventCreate.
            let _ = unsafe { (functions.event_destroy)(self.handle) };
        }
    }
}
