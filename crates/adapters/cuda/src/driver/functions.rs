//! The driver's C functions. Signatures are those of CUDA 12's `cuda.h`; the `_v2` names are what that header's plain
//! ones mean. All of them exist in every driver that loads PTX 8.7.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::library::functions;

/// A pointer to something of the driver's.
pub(super) type Handle = *mut c_void;

functions! {
    pub(super) struct Functions;
    init = "cuInit" (c_uint);
    driver_version = "cuDriverGetVersion" (*mut c_int);
    error_name = "cuGetErrorName" (c_int, *mut *const c_char);
    device_count = "cuDeviceGetCount" (*mut c_int);
    device = "cuDeviceGet" (*mut c_int, c_int);
    device_name = "cuDeviceGetName" (*mut c_char, c_int, c_int);
    device_uuid = "cuDeviceGetUuid_v2" (*mut [u8; 16], c_int);
    device_memory = "cuDeviceTotalMem_v2" (*mut usize, c_int);
    device_bus_id = "cuDeviceGetPCIBusId" (*mut c_char, c_int, c_int);
    device_attribute = "cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
    context_create = "cuCtxCreate_v2" (*mut Handle, c_uint, c_int);
    context_destroy = "cuCtxDestroy_v2" (Handle);
    context_bind = "cuCtxSetCurrent" (Handle);
    context_limit = "cuCtxSetLimit" (c_int, usize);
    context_synchronize = "cuCtxSynchronize" ();
    module_load = "cuModuleLoadDataEx" (*mut Handle, *const c_void, c_uint, *mut c_int, *mut *mut c_void);
    module_unload = "cuModuleUnload" (Handle);
    module_function = "cuModuleGetFunction" (*mut Handle, Handle, *const c_char);
    function_attribute = "cuFuncSetAttribute" (Handle, c_int, c_int);
    launch = "cuLaunchKernel" (
        Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void
    );
    memory_info = "cuMemGetInfo_v2" (*mut usize, *mut usize);
    allocate = "cuMemAlloc_v2" (*mut u64, usize);
    free = "cuMemFree_v2" (u64);
    host_allocate = "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    host_free = "cuMemFreeHost" (*mut c_void);
    host_address = "cuMemHostGetDevicePointer_v2" (*mut u64, *mut c_void, c_uint);
    write = "cuMemcpyHtoD_v2" (u64, *const c_void, usize);
    read = "cuMemcpyDtoH_v2" (*mut c_void, u64, usize);
    copy = "cuMemcpyDtoD_v2" (u64, u64, usize);
    event_create = "cuEventCreate" (*mut Handle, c_uint);
    event_destroy = "cuEventDestroy_v2" (Handle);
    event_record = "cuEventRecord" (Handle, Handle);
    event_synchronize = "cuEventSynchronize" (Handle);
    event_elapsed = "cuEventElapsedTime" (*mut f32, Handle, Handle);
}
