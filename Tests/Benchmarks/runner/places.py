"""Where things are, and how they are built."""

import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD_C = os.path.join(ROOT, ".build", "bench-c")
BUILD_NIO = os.path.join(ROOT, ".build", "bench-nio")
BUILD_HANDOFF = os.path.join(ROOT, ".build", "bench-handoff")
DRY_RESULTS = os.path.join(ROOT, ".build", "bench-dry.json")
RESULTS = os.path.join(HERE, "results.json")
REPORT = os.path.join(HERE, "RESULTS.md")
PLOTS = os.path.join(HERE, "plots")
NOTES = os.path.join(HERE, "notes")
BOUNDS = os.path.join(HERE, "bounds.json")


# In the environment: programs that are then not built.
PROGRAMS = ("RINGMASTER", "RINGLOAD", "NIO_SERVER", "HANDOFF_SERVER")


class NotBuilt(Exception):
    """A program is missing; the text says how to get it."""


def build_references():
    """The C programs."""
    subprocess.run(["make", "--silent", "-C", os.path.join(HERE, "reference"), f"OUT={BUILD_C}"], check=True)


def _swift(product, package=None, scratch=None, environment=None):
    command = ["swift", "build", "-c", "release", "--product", product]
    if package:
        command += ["--package-path", os.path.join(HERE, package), "--scratch-path", scratch]
    print(f"building {product}", flush=True)
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | (environment or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False)
    if done.returncode != 0:
        raise NotBuilt(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}")


def build(products):
    """In release mode, those of ringmaster, ringload, nio-server and handoff-server that the environment does not bring."""
    build_references()
    if "ringmaster" in products and not os.environ.get("RINGMASTER"):
        _swift("ringmaster")
    if "ringload" in products and not os.environ.get("RINGLOAD"):
        _swift("ringload")
    if "nio-server" in products and not os.environ.get("NIO_SERVER"):
        _swift("nio-server", "NIOServer", BUILD_NIO)
    if "handoff-server" in products and not os.environ.get("HANDOFF_SERVER"):
        _swift("handoff-server", "HandoffServer", BUILD_HANDOFF, {"RINGMASTER_CORE": "1"})


def check_named():
    """Before anything is built: what the environment names must be there."""
    for variable in PROGRAMS:
        path = os.environ.get(variable)
        if path and not is_program(path):
            raise NotBuilt(f"{variable} names {path}, which is no program: mend it, or unset it to have it built")


def is_program(path):
    """Whether it is an executable file that begins as one: as an ELF file, or as a script with its interpreter."""
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        return False
    with open(path, "rb") as file:
        return file.read(4).startswith((b"\x7fELF", b"#!"))


def tool(name):
    """A program of the system's; some stand in /usr/sbin."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        raise NotBuilt(f"{name} is not installed: Tests/Benchmarks/run --install brings it")
    return path


def build_command(name):
    """What builds a program of this package. RINGMASTER_CORE leaves out all that stands on SwiftNIO, `ringmaster` among it."""
    unset = "env -u RINGMASTER_CORE " if name == "ringmaster" and "RINGMASTER_CORE" in os.environ else ""
    return f"{unset}swift build -c release --product {name}"


def _released(variable, name, scratch=os.path.join(ROOT, ".build")):
    named = os.environ.get(variable)
    path = named or os.path.join(scratch, "release", name)
    if not os.path.exists(path):
        raise NotBuilt(f"{path} is missing: build it with `{build_command(name)}`, or let {variable} name it")
    if not is_program(path):
        remedy = f"let {variable} name another file, or unset it" if named else f"build it with `{build_command(name)}`"
        raise NotBuilt(f"{path} is no program: {remedy}")
    return os.path.abspath(path)


def ringmaster_binary():
    """The release build, or what RINGMASTER names."""
    return _released("RINGMASTER", "ringmaster")


def ringload_binary():
    """The release build, or what RINGLOAD names."""
    return _released("RINGLOAD", "ringload")


def c_binary(name):
    """One of the C programs."""
    return os.path.join(BUILD_C, name)


def nio_binary():
    """The release build, or what NIO_SERVER names."""
    return _released("NIO_SERVER", "nio-server", BUILD_NIO)


def handoff_binary():
    """The release build, or what HANDOFF_SERVER names."""
    return _released("HANDOFF_SERVER", "handoff-server", BUILD_HANDOFF)
