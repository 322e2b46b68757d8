"""
The wasm cage: CPython for WebAssembly on wasmtime, one instance in one locked process.
"""
