//! What the driver does behind a program's back.

/// The driver's variable by which it keeps no compiled programs.
const DISABLE: &str = "CUDA_CACHE_DISABLE";

/// Has the driver write no compiled kernels below `~/.nv`: a prover leaves nothing behind. Must be called before any
/// other thread is started; says whether it took effect, which it does not in a process that has several.
#[must_use]
pub fn keep_no_compiled_kernels() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return std::env::var_os(DISABLE).is_some();
    }
    #[expect(clippy::disallowed_methods, reason = "the driver takes this by its environment alone")]
    // SAFETY: this process has one thread, this one, so that nobody reads the environment meanwhile.
    unsafe {
        std::env::set_var(DISABLE, "1");
    }
    true
}
