//! C libraries that are opened at run time, so that one program runs with and without them (RULES R17).

/// Why a library cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// It cannot be opened.
    #[error("cannot open {library}")]
    Open {
        /// Its name.
        library: String,
        /// The dynamic linker's answer.
        #[source]
        source: libloading::Error,
    },
    /// It lacks a function.
    #[error("{library} has no function {symbol}: it is too old, a driver of CUDA 12.8 or later has it")]
    Symbol {
        /// The library.
        library: String,
        /// The function.
        symbol: &'static str,
        /// The dynamic linker's answer.
        #[source]
        source: libloading::Error,
    },
}

/// Declares a table of functions, and how to fill it from a library.
macro_rules! functions {
    (
        $visibility:vis struct $table:ident;
        $($name:ident = $symbol:literal ($($argument:ty),*);)*
    ) => {
        /// The functions, valid as long as the library that comes with them.
        $visibility struct $table {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) -> std::ffi::c_int,)*
            _library: libloading::Library,
        }

        impl $table {
            /// Opens `library` as the dynamic linker finds it, and all functions in it.
            pub(super) fn load(library: &std::ffi::OsStr) -> Result<Self, $crate::library::LibraryError> {
                use $crate::library::LibraryError;
                let shown = || library.to_string_lossy().into_owned();
                // SAFETY: the library is a part of NVIDIA's driver by its well-known name, or one that the caller names in its
                // place; its initialisers may run at any time in any thread.
                let opened = unsafe { libloading::Library::new(library) }
                    .map_err(|source| LibraryError::Open { library: shown(), source })?;
                Ok(Self {
                    $($name: {
                        let symbol = $symbol;
                        // SAFETY: the signature is the header's for this name; the pointer stays valid, as the
                        // library is kept beside it and never closed before it.
                        *unsafe {
                            opened.get::<unsafe extern "C" fn($($argument),*) -> std::ffi::c_int>(symbol.as_bytes())
                        }
                        .map_err(|source| LibraryError::Symbol { library: shown(), symbol, source })?
                    },)*
                    _library: opened,
                })
            }
        }

        impl std::fmt::Debug for $table {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($table)).finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use functions;
