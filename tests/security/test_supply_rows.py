"""
Rows S01 to S05: what is linked, what is mapped, what is pinned, and how it was compiled.
"""

import dataclasses
import os
import re
import shutil
from pathlib import Path

import pytest
import wasmtime
from wasmtime import _bindings as capi

from executor.images import sealed
from executor.images.errors import ImageRefusedError
from executor.images.host import platform_problem
from executor.images.manifest import PYTHON
from executor.kernel.errors import InternalError
from executor.wasm import engine, engine_config, imports, target
from executor.wasm.calls import Faults
from executor.wasm.emscripten_abi import ABIS
from executor.wasm.layout import PYODIDE_313, PYODIDE_314
from executor.wasm.linkage import Linkage
from tests.executor.wasm.fixtures import image, session, zygote

__all__ = ["image", "session", "zygote"]


ENGINE = engine.new_engine()


def linkage(rows):
    return Linkage(engine.new_store(ENGINE, 2**16), rows, Faults())


def imported(text):
    return wasmtime.Module(ENGINE, text).imports[0]


def test_s01_the_table_has_as_many_rows_as_were_reviewed():
    assert len(ABIS[PYODIDE_314.guest].rows) == imports.FUNCTIONS == 268
    assert len(ABIS[PYODIDE_313.guest].rows) == 253


def test_s01_an_import_that_no_row_names_is_not_linked():
    known = imported('(module (import "env" "__syscall_dup" (func (param i32) (result i32))))')
    table = linkage(imports.ROWS)
    assert table.function(known)
    for text in (
        '(module (import "env" "__syscall_fork" (func (result i32))))',
        '(module (import "evil" "__syscall_dup" (func (param i32) (result i32))))',
        '(module (import "env" "__syscall_dup" (func (param i64) (result i32))))',
    ):
        with pytest.raises(InternalError, match="no row for import"):
            table.function(imported(text))


def test_s01_a_row_that_the_module_does_not_import_is_an_error():
    with pytest.raises(InternalError, match="which the table names"):
        linkage(imports.ROWS).require_all_used()


def test_s02_no_javascript_engine_is_mapped_into_a_worker(session):
    maps = Path(f"/proc/{session.pid}/maps").read_text(encoding="ascii", errors="replace")
    files = {line.split()[-1] for line in maps.splitlines() if "/" in line}
    assert any("libwasmtime" in name for name in files), "the map is a worker's"
    engines = re.compile(r"node|v8|deno|quickjs|spidermonkey|mozjs|javascriptcore", re.IGNORECASE)
    assert not [name for name in files if engines.search(name.rpartition("/")[2])]


def test_s03_a_module_is_used_only_with_the_bytes_that_were_pinned(image, tmp_path):
    os.close(sealed.open_module(image, PYTHON))
    copy = tmp_path / "image"
    shutil.copytree(image.path, copy)
    with (copy / PYTHON).open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes((byte[0] ^ 1,)))
    with pytest.raises(ImageRefusedError, match="SHA-256"):
        sealed.open_module(dataclasses.replace(image, path=copy), PYTHON)


def test_s04_compiler_target_and_optimisation_are_stated():
    settings = dict(engine_config.SETTINGS)
    assert settings["strategy"] == 1
    assert settings["cranelift_opt_level"] == 1
    assert settings["cranelift_nan_canonicalization"] == 1
    assert target.TRIPLE == "x86_64-unknown-linux-gnu"


def test_s04_code_for_the_very_processor_or_of_another_compiler_is_not_loaded(tmp_path):
    text = '(module (func (export "f") (result i32) i32.const 1))'
    ours = wasmtime.Module(engine.new_engine(), text).serialize()
    assert wasmtime.Module.deserialize(engine.new_engine(), ours)
    other = wasmtime.Config()
    theirs = wasmtime.Module(wasmtime.Engine(other), text).serialize()
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module.deserialize(engine.new_engine(), theirs)


def test_s04_another_machine_is_refused(monkeypatch):
    assert platform_problem() is None
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "x86_64" in str(platform_problem())


def test_s04_a_processor_gets_its_best_named_level_or_is_refused():
    levels = {one.name: one.cpuinfo for one in target.TARGETS}
    assert target.fitting(levels["x86-64-v3"] | {"avx512f"}).name == "x86-64-v3"
    assert target.fitting(levels["x86-64-v3"] - {"avx2"}).name == "x86-64-v2"
    assert target.fitting(levels["x86-64-v2"] - {"popcnt"}) is None


# A module for each proposal that is off, and one for what is on, as text or as bytes.
OFF = {
    "memory64": "(module (memory i64 1))",
    "multi-memory": "(module (memory 1) (memory 1))",
    "relaxed-simd": "(module (func (param v128 v128) (result v128)"
    " (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
    "tail-call": "(module (func $f (return_call $f)))",
    "threads": "(module (memory 1 1 shared))",
    "wide-arithmetic": "(module (func (param i64 i64 i64 i64) (result i64 i64)"
    " (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3))))",
    "custom-page-sizes": "(module (memory 1 (pagesize 1)))",
    "stack-switching": "(module (type $f (func)) (type $c (cont $f)))",
}
ON = {
    "exceptions": "(module (tag (param i32)))",
    "simd": "(module (func (result v128) (v128.const i32x4 0 0 0 0)))",
    "gc": "(module (type (struct (field i32))))",
    "bulk-memory": "(module (memory 1) (func (memory.fill"
    " (i32.const 0) (i32.const 0) (i32.const 0))))",
}


@pytest.mark.parametrize("proposal", OFF)
def test_s05_a_proposal_that_is_not_needed_is_off(proposal):
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module(engine.new_engine(), OFF[proposal])


@pytest.mark.parametrize("proposal", ON)
def test_s05_a_proposal_that_is_needed_is_on(proposal):
    assert wasmtime.Module(engine.new_engine(), ON[proposal])


def test_s05_every_switch_of_the_engine_is_set_by_name():
    switches = {
        name.removeprefix("wasmtime_config_").removesuffix("_set")
        for name in dir(capi)
        if re.fullmatch(r"wasmtime_config_wasm_\w+_set", name)
    }
    stated = {*engine_config.FEATURES_ON, *engine_config.FEATURES_OFF}
    assert switches - stated == set(), "a release brought a proposal that nobody has decided on"
