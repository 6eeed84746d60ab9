//! Memory that kernels read and write.

use std::ffi::{c_uint, c_void};

use super::{Context, CudaError, Handle};

impl Context {
    /// Allocates device memory, aligned to 256 bytes, of unknown content.
    pub fn allocate(&self, bytes: u64) -> Result<Buffer, CudaError> {
        let functions = self.bind()?;
        let mut address = 0;
        let size = usize::try_from(bytes).map_err(|_| CudaError::Implausible { what: "size" })?;
        // SAFETY: the pointer is to a number that outlives the call.
        functions.check("cuMemAlloc", unsafe { (functions.allocate)(&raw mut address, size) })?;
        Ok(Buffer { context: self.clone(), address, bytes })
    }

    /// Allocates pinned host memory that kernels reach over the link, of unknown content.
    pub fn allocate_host(&self, bytes: u64) -> Result<HostBuffer, CudaError> {
        const MAPPED: c_uint = 2;
        let functions = self.bind()?;
        let size = usize::try_from(bytes).map_err(|_| CudaError::Implausible { what: "size" })?;
        let mut start = std::ptr::null_mut();
        // SAFETY: the pointer is to a pointer that outlives the call.
        let code = unsafe { (functions.host_allocate)(&raw mut start, size, MAPPED) };
        functions.check("cuMemHostAlloc", code)?;
        let mut buffer = HostBuffer { context: self.clone(), start, address: 0, bytes };
        // SAFETY: the memory is from cuMemHostAlloc; the pointer is to a number that outlives the call.
        let code = unsafe { (functions.host_address)(&raw mut buffer.address, start, 0) };
        functions.check("cuMemHostGetDevicePointer", code)?;
        Ok(buffer)
    }
}

/// Device memory.
#[derive(Debug)]
pub struct Buffer {
    context: Context,
    address: u64,
    bytes: u64,
}

impl Buffer {
    /// Where kernels find it.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Overwrites `data.len()` bytes from `offset` on.
    ///
    /// # Panics
    /// If they are not in the buffer.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), CudaError> {
        let at = self.place(offset, data.len() as u64);
        let functions = self.context.bind()?;
        // SAFETY: the destination is inside this allocation, the source is as long.
        functions.check("cuMemcpyHtoD", unsafe {
            (functions.write)(at, data.as_ptr().cast::<c_void>(), data.len())
        })
    }

    /// Reads `out.len()` bytes from `offset` on, once all kernels launched before have ended.
    ///
    /// # Panics
    /// If they are not in the buffer.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), CudaError> {
        let at = self.place(offset, out.len() as u64);
        let functions = self.context.bind()?;
        // SAFETY: the source is inside this allocation, the destination is as long.
        functions.check("cuMemcpyDtoH", unsafe {
            (functions.read)(out.as_mut_ptr().cast::<c_void>(), at, out.len())
        })
    }

    /// Copies `bytes` from `from` of `source` to `offset`, in the order of kernels.
    ///
    /// # Panics
    /// If they are not in the buffers.
    pub fn copy(&mut self, offset: u64, source: &Self, from: u64, bytes: u64) -> Result<(), CudaError> {
        let (to, from) = (self.place(offset, bytes), source.place(from, bytes));
        let functions = self.context.bind()?;
        let size = usize::try_from(bytes).map_err(|_| CudaError::Implausible { what: "size" })?;
        // SAFETY: both ranges are inside their allocations; two allocations do not overlap.
        functions.check("cuMemcpyDtoD", unsafe { (functions.copy)(to, from, size) })
    }

    fn place(&self, offset: u64, bytes: u64) -> u64 {
        let end = offset.checked_add(bytes);
        assert!(end.is_some_and(|end| end <= self.bytes), "bytes {offset}.. of a buffer of {}", self.bytes);
        self.address + offset
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(functions) = self.context.bind() {
            // SAFETY: the address is from cuMemAlloc. The call waits for kernels that still use the memory.
            let _ = unsafe { (functions.free)(self.address) };
        }
    }
}

/// Pinned memory of the host, mapped into the device.
#[derive(Debug)]
pub struct HostBuffer {
    context: Context,
    start: Handle,
    address: u64,
    bytes: u64,
}

// SAFETY: the memory is reached by kernels only, through its address; the pointer serves to free it.
unsafe impl Send for HostBuffer {}
// SAFETY: as above.
unsafe impl Sync for HostBuffer {}

impl HostBuffer {
    /// Where kernels find it.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        if let Ok(functions) = self.context.bind() {
            // SAFETY: the pointer is from cuMemHostAlloc. Kernels that use it have been waited for: every walk and fill
            // ends by reading device memory back.
            let _ = unsafe { (functions.host_free)(self.start) };
        }
    }
}
