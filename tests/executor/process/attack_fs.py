"""
Attacks on the host's files, on what is shown read-only, and on running what was written.
"""

import ctypes
import fcntl
import mmap
import os
import shutil
import stat
import sysconfig

from attacks import Attack, Control, only
from box_range import HELD_DIRECTORY, HELD_FILE, RESULT, Host

from executor.linux.libc import call

HERE = -100
PACKAGES = sysconfig.get_paths()["purelib"]
OPENED_FOR_WRITING = "!opened for writing"


def _read(path):
    with open(path, "rb") as file:
        return f"!read {len(file.read(4096))} bytes"


def _create(path):
    with open(path, "x"):
        pass
    os.unlink(path)
    return f"!made {path}"


def _for_writing(path):
    os.close(os.open(path, os.O_WRONLY))
    return OPENED_FOR_WRITING


def _text(text):
    return ctypes.create_string_buffer(os.fsencode(text))


def _address(buffer):
    return ctypes.addressof(buffer)


def own_symlink(host):
    os.symlink(host.canary, "link")
    return _read("link")


def hard_link(host):
    os.link(host.canary, "hard")
    return _read("hard")


def inherited(_host):
    extra = []
    for number in range(4, 256):
        try:
            fcntl.fcntl(number, fcntl.F_GETFD)
        except OSError:
            continue
        extra.append(number)
    return f"!holds {extra}" if extra else "none"


def directory_descriptor(_host):
    os.close(os.open("canary", os.O_RDONLY, dir_fd=HELD_DIRECTORY))
    return "!opened below a directory of the zygote"


def block_device(host):
    numbers = os.makedev(*_disk())
    os.mknod("disk", stat.S_IFBLK | 0o600, numbers)
    os.unlink("disk")
    return "!made a device"


def _disk():
    try:
        found = os.stat("/usr").st_dev
    except OSError:
        found = os.makedev(254, 0)
    return os.major(found), os.minor(found)


def by_handle(host):
    path, handle, mount = _text(host.canary), ctypes.create_string_buffer(136), ctypes.c_int()
    handle[0] = 128
    call("name_to_handle_at", HERE, _address(path), _address(handle), ctypes.addressof(mount), 0)
    below = os.open("/", os.O_RDONLY)
    os.close(call("open_by_handle_at", below, _address(handle), os.O_RDONLY))
    return "!opened by handle"


def mount_tmpfs(_host):
    kind, place = _text("tmpfs"), _text("/work")
    call("mount", _address(kind), _address(place), _address(kind), 0, 0)
    return "!mounted"


def remount(_host):
    place = _text("/usr")
    call("mount", 0, _address(place), 0, 32, 0)
    return "!remounted"


def unmount(_host):
    place = _text("/usr")
    call("umount2", _address(place), 2)
    return "!unmounted"


def pivot(_host):
    here = _text(".")
    call("pivot_root", _address(here), _address(here))
    return "!changed the root"


def chroot(host):
    os.chroot(".")
    return "!changed the root"


def open_tree(_host):
    path = _text("/")
    call("open_tree", HERE, _address(path), 1)
    return "!copied a tree"


def fsopen(_host):
    kind = _text("tmpfs")
    call("fsopen", _address(kind), 0)
    return "!opened a file system"


def _execute(*command):
    os.dup2(RESULT, 1)
    os.execv(command[0], [*command, "!executed"])
    return "never"


def _copied_program():
    shutil.copyfile("/usr/bin/echo", "echo")
    os.chmod("echo", 0o755)
    return os.path.abspath("echo")


def execute_written(_host):
    return _execute(_copied_program())


def execute_by_loader(_host):
    return _execute("/usr/lib64/ld-linux-x86-64.so.2", _copied_program())


def execute_installed(_host):
    return _execute("/usr/bin/echo")


def execute_memory(_host):
    file = os.memfd_create("x")
    with open("/usr/bin/echo", "rb") as program:
        os.write(file, program.read())
    os.dup2(RESULT, 1)
    os.execve(file, ["echo", "!executed"], {})
    return "never"


def execute_by_execveat(_host):
    path, word = _text("/usr/bin/echo"), _text("!executed")
    words = (ctypes.c_void_p * 3)(_address(path), _address(word), None)
    os.dup2(RESULT, 1)
    call("execveat", HERE, _address(path), ctypes.addressof(words), 0, 0)
    return "never"


def load_written(_host):
    library = "/usr/lib/x86_64-linux-gnu/libz.so.1"
    shutil.copyfile(library, "written.so")
    try:
        ctypes.CDLL(os.path.abspath("written.so"))
    except OSError as error:
        # The loader puts it into words, without an errno.
        return "not mapped" if "failed to map" in str(error) else f"OSError {error}"
    return "!loaded code that was written"


def anonymous_code(_host):
    memory = mmap.mmap(-1, 4096, prot=7)
    memory.write(b"\xb8\x2a\0\0\0\xc3")
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return f"!ran code: {ctypes.CFUNCTYPE(ctypes.c_int)(place)()}"


def written_then_executable(_host):
    memory = mmap.mmap(-1, 4096, prot=3)
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    call("mprotect", place, 4096, 5)
    return "!data became code"


def _fill(path, files, each):
    block = b"x" * 65536
    for number in range(files):
        with open(f"{path}/{number}", "wb", buffering=0) as file:
            for _ in range(each // len(block)):
                if file.write(block) < len(block):
                    file.write(block)
    return "!wrote it all"


def fill_disk(_host):
    return _fill(".", 1, 40 << 20)


def fill_many(_host):
    return _fill(".", 40, 1 << 20)


def fill_temporary(_host):
    return _fill("/tmp", 1, 10 << 20)


def fill_home(_host):
    return _fill("/home/agent", 10, 1 << 20)


def too_many_files(_host):
    return _fill(".", 2000, 0)


def devices(_host):
    known = {"null", "zero", "full", "random", "urandom"}
    extra = sorted(set(os.listdir("/dev")) - known)
    return f"!sees {extra[:3]}" if extra else "none"


def set_id_bit(_host):
    with open("own", "w"):
        pass
    os.chmod("own", 0o4755)
    return f"!mode {os.stat('own').st_mode:o}"


def set_id_by_open(_host):
    os.close(os.open("own2", os.O_CREAT | os.O_WRONLY, 0o6755))
    return f"!mode {os.stat('own2').st_mode:o}"


def set_id_by_mkdir(_host):
    os.mkdir("own3", 0o2777)
    return "!made it"


def set_id_by_openat2(_host):
    path, how = _text("own4"), (ctypes.c_uint64 * 3)(os.O_CREAT | os.O_WRONLY, 0o4755, 0)
    os.close(call("openat2", HERE, _address(path), ctypes.addressof(how), 24))
    return "!opened"


def rename_across(host):
    victim = f"{host.directory}/expendable-{os.getpid()}"
    with open(victim, "w"):
        pass
    os.rename(victim, "taken")
    return "!took a file of the host"


def make_fifo(_host):
    os.mkfifo("fifo")
    return "!made it"


def write_view_by_descriptor(_host):
    with open("/usr/bin/echo", "rb") as file:
        os.fchmod(file.fileno(), stat.S_IMODE(os.fstat(file.fileno()).st_mode))
    return "!changed a shown file's rights"


NEVER, ASSUMED = Control.NEVER, Control.ASSUMED
SMALL = {"scratch": [["/work", 16 << 20, 500]], "tmp_bytes": 4 << 20, "tmp_files": 500}
FULL = only("ENOSPC", "EFBIG")

ATTACKS = {
    "fs_read_shadow": Attack(1, lambda _: _read("/etc/shadow")),
    "fs_read_canary_abs": Attack(2, lambda h: _read(h.canary)),
    "fs_traversal": Attack(3, lambda h: _read("../" * 12 + h.canary)),
    "fs_own_symlink": Attack(5, own_symlink),
    "fs_hardlink_in": Attack(6, hard_link),
    "fs_write_usr": Attack(7, lambda _: _create("/usr/codecage-attack")),
    "fs_poison_sitepackages": Attack(8, lambda _: _create(f"{PACKAGES}/codecage_attack.pth")),
    "fs_proc1_root": Attack(9, lambda _: _read("/proc/1/root/etc/passwd"), control=NEVER),
    "fs_proc_parent_root": Attack(10, lambda h: _read(f"/proc/{os.getppid()}/root{h.canary}")),
    "fs_inherited_fds": Attack(11, inherited, only("none")),
    "fs_secret_fd": Attack(12, lambda _: f"!read {len(os.read(HELD_FILE, 9))}", only("EBADF")),
    "fs_dirfd_openat": Attack(13, directory_descriptor, only("EBADF")),
    "fs_mknod_blk": Attack(14, block_device),
    "fs_open_by_handle": Attack(15, by_handle),
    "fs_mount_tmpfs": Attack(16, mount_tmpfs, only("EPERM"), ASSUMED),
    "fs_remount_rw": Attack(17, remount, only("EPERM"), ASSUMED),
    "fs_umount": Attack(18, unmount, only("EPERM"), ASSUMED),
    "fs_pivot_root": Attack(19, pivot, only("EPERM"), NEVER),
    "fs_chroot_escape": Attack(20, chroot),
    "fs_open_tree": Attack(21, open_tree),
    "fs_fsopen": Attack(22, fsopen),
    "fs_exec_written_bin": Attack(23, execute_written, only("EPERM")),
    "fs_exec_ldso": Attack(24, execute_by_loader, only("EPERM")),
    "fs_exec_usr_bin": Attack(25, execute_installed, only("EPERM")),
    "fs_exec_memfd": Attack(26, execute_memory, only("EPERM")),
    "fs_execveat": Attack(210, execute_by_execveat, only("EPERM")),
    "fs_mmap_exec_file": Attack(28, load_written, only("not mapped")),
    "mem_anon_exec": Attack(29, anonymous_code, only("EACCES")),
    "mem_written_exec": Attack(212, written_then_executable, only("EACCES")),
    "fs_disk_fill": Attack(30, fill_disk, FULL, ASSUMED, SMALL),
    "fs_many_files": Attack(31, fill_many, FULL, ASSUMED, SMALL),
    "fs_tmp_fill": Attack(32, fill_temporary, FULL, ASSUMED, SMALL),
    "fs_home_fill": Attack(32, fill_home, FULL, ASSUMED, SMALL),
    "fs_inode_fill": Attack(31, too_many_files, FULL, ASSUMED, SMALL),
    "fs_devices": Attack(33, devices, only("none")),
    "fs_core_pattern": Attack(34, lambda _: _for_writing("/proc/sys/kernel/core_pattern")),
    "fs_sysrq": Attack(35, lambda _: _for_writing("/proc/sysrq-trigger"), control=ASSUMED),
    "fs_release_agent": Attack(36, lambda _: _for_writing("/sys/fs/cgroup/memory/release_agent")),
    "fs_uevent_helper": Attack(
        37, lambda _: _for_writing("/sys/kernel/uevent_helper"), control=NEVER
    ),
    "fs_sysfs_any": Attack(38, lambda _: f"!sees {len(os.listdir('/sys'))}"),
    "fs_proc_kallsyms": Attack(39, lambda _: _read("/proc/kallsyms")),
    "fs_proc_cmdline_host": Attack(40, lambda _: _read("/proc/1/cmdline")),
    "fs_dev_shm_leak": Attack(41, lambda h: _read(h.shared_memory)),
    "fs_suid_bit": Attack(42, set_id_bit, only("EPERM")),
    "fs_suid_open": Attack(209, set_id_by_open, only("EPERM")),
    "fs_suid_mkdir": Attack(209, set_id_by_mkdir, only("EPERM")),
    "fs_suid_openat2": Attack(209, set_id_by_openat2, only("ENOSYS")),
    "fs_reopen_ro_fd_rw": Attack(43, lambda _: _for_writing(f"/proc/self/fd/{HELD_FILE}")),
    "fs_rename_across": Attack(44, rename_across),
    "fs_mkfifo": Attack(14, make_fifo, only("EPERM")),
    "fs_fchmod_view": Attack(43, write_view_by_descriptor, only("EROFS")),
}
assert Host
