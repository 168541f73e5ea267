"""What a run of the runner has in common: times, CPUs, a directory, and what was said to the subjects."""

import os
import re
import shutil
import subprocess
import tempfile

from . import places, usage


class CannotRun(Exception):
    """This machine is not fit for it; the text says why."""


class Bench:
    """One run. `seconds`: of each measurement."""

    def __init__(self, rounds, seconds, dry):
        self.rounds, self.seconds, self.dry = rounds, seconds, dry
        self.warmup = 0.1 if dry else 0.3
        self.wrk_seconds = max(1, round(seconds))
        cpus = usage.processors()
        if len(cpus) < 2:
            raise CannotRun("two CPUs are needed: one for the server, one for the load")
        self.server_cpus, self.client_cpus = str(cpus[0]), str(cpus[1])
        self.all_cpus = f"{cpus[0]},{cpus[1]}"
        self.directory = tempfile.mkdtemp(prefix="ringmaster-bench-")
        os.chmod(self.directory, 0o755)
        # The runner itself stays away from the server.
        os.sched_setaffinity(0, {cpus[1]})
        self.commands = []
        self.remarks = []
        self.tuned = {}

    def close(self):
        """Nothing stays."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def said(self, command, text=None):
        """Notes a command for the report, without what differs from one time to the next."""
        line = " ".join([os.path.basename(command[0]), *command[1:]])
        line = re.sub(r"taskset -c [\d,]+ (?:\S*/)?", "", line)
        line = re.sub(r" --json \S+", "", line)
        line = re.sub(r"(?<![\d.])[12]\d{4}\b(?! *ms)", "PORT", line) if "127.0.0.1" not in line else line
        line = re.sub(r"(127\.0\.0\.1):\d+", r"\1:PORT", line).replace(self.directory, "DIR")
        if text is not None:
            line += "\n" + re.sub(r"(127\.0\.0\.1):\d+", r"\1:PORT", text.replace(self.directory, "DIR"))
            line = re.sub(r"nginx-\d+", "nginx", line)
        if line not in self.commands:
            self.commands.append(line)

    def remark(self, text):
        """Something that the report should say of the row."""
        if text not in self.remarks:
            self.remarks.append(text)

    def begin_row(self):
        """Commands and remarks are a row's."""
        self.commands, self.remarks = [], []

    def certificate(self):
        """A certificate and its key, made when first asked for."""
        paths = [os.path.join(self.directory, name) for name in ("cert.pem", "key.pem")]
        if not os.path.exists(paths[0]):
            subprocess.run(
                [places.tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", paths[1], "-out", paths[0]],
                check=True, capture_output=True)
        return paths

    def files(self):
        """A folder of files: 1k, 64k, 10m."""
        root = os.path.join(self.directory, "files")
        if not os.path.exists(root):
            os.makedirs(root)
            os.chmod(root, 0o755)
            for name, size in (("1k", 1 << 10), ("64k", 64 << 10), ("10m", 10 << 20)):
                with open(os.path.join(root, name), "wb") as file:
                    file.write(os.urandom(size))
        return root
