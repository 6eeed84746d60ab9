// All kernels as one module.
#include "work.cu"
#include "tree.cu"
#include "residency.cu"
