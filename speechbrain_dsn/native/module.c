/* Inner loops that PyTorch cannot fuse, as a module, for Python's own ways to
 * build and to find it. All of them are float32, in one thread, without
 * allocation.
 *
 * Authors
 *  * The speechbrain_dsn developers 2026
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "Called by ctypes, see speechbrain_dsn.native.",
    .m_size = 0,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
