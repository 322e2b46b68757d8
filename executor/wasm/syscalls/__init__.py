"""
The handlers of the guest's imports, by topic. Each takes the process and the raw arguments,
unsigned; returns the result; and fails by GuestFault. `executor.wasm.imports` is their table.
"""
