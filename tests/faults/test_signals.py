"""SIGTERM ends a stage cleanly; kill -9 leaves nothing that is read; files are always complete."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from salcr import files
from salcr.atomic import atomic_path, temporary_folder
from tests.support import faults, tiny

STOPPED = "stopped by SIGTERM; run the same command to resume"


def timed(stage: str, run_copy: Path, stop_after: float | None = None) -> tuple[int, str, float]:
    """Run a stage; return status, output and seconds since its first imports, when SIGTERM counts.

    Args:
        stage: Stage to run.
        run_copy: Folder to run it in.
        stop_after: Seconds until it gets SIGTERM.
    """
    command = [sys.executable, "-X", "importtime", "-m", "salcr", *faults.words(stage, run_copy)]
    with subprocess.Popen(
        command, env=faults.ENVIRONMENT, stderr=subprocess.PIPE, text=True
    ) as job:
        assert job.stderr is not None
        # The last import of the command line, before it says what SIGTERM does.
        next(line for line in job.stderr if line.rstrip().endswith(" salcr.config.loading"))
        started = time.monotonic()
        if stop_after is not None:
            time.sleep(stop_after)
            job.send_signal(signal.SIGTERM)
        lines = [line for line in job.stderr if not line.startswith("import time:")]
        return job.wait(), "".join(lines), time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("stage", faults.STAGES)
def test_sigterm_ends_every_stage_cleanly(complete_run: Path, tmp_path: Path, stage: str) -> None:
    """Status 143 and one line; every file complete or absent; then the undisturbed bytes."""
    expected = faults.contents(complete_run, stage)
    run_copy = faults.copy_run(complete_run, tmp_path / "timed", without=stage)
    status, _, seconds = timed(stage, run_copy)
    assert status == 0
    draw, statuses = random.Random(f"sigterm {stage}"), set()
    # If the machine was busy while the stage was timed, earlier signals are accepted, too.
    for turn, span in enumerate(((0.3, 0.9), (0.2, 0.6), (0, 0.3), (0, 0.2), (0, 0.1), (0, 0.05))):
        if turn >= 3 and 143 in statuses:
            break
        run_copy = faults.copy_run(complete_run, tmp_path / str(turn), without=stage)
        moment = 0.02 + draw.uniform(*span) * seconds
        status, output, _ = timed(stage, run_copy, moment)
        print(f"{stage}: SIGTERM after {moment:.2f} of {seconds:.2f} s: {status}")
        statuses.add(status)
        actual = faults.contents(run_copy, stage)
        assert all(actual[path] in (None, expected[path]) for path in expected)
        assert not faults.temporaries(run_copy) and "Traceback" not in output
        if status != 143:  # done before the signal came, or while Python was cleaning up
            assert status in (0, -signal.SIGTERM) and actual == expected
        assert output.count("SIGTERM") == output.count(STOPPED) == (status == 143)
        assert tiny.run(*faults.words(stage, run_copy)) == 0
        assert faults.contents(run_copy, stage) == expected
    assert 143 in statuses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_imports_are_done_is_reported_too(
    complete_run: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM, or Ctrl-C, while torch is being imported, which takes seconds."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy", without="train")
    command = [sys.executable, "-X", "importtime", "-m", "salcr", *faults.words("train", run_copy)]
    with subprocess.Popen(
        command, env=faults.ENVIRONMENT, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as job:  # fmt: skip
        assert job.stderr is not None
        next(line for line in job.stderr if line.rstrip().endswith("torch._utils_internal"))
        job.send_signal(number)
        output = job.stderr.read()
    assert job.returncode == 128 + number and "Traceback" not in output
    assert output.count(STOPPED.replace("SIGTERM", number.name)) == 1


def test_ctrl_c_ends_no_job_in_the_background(complete_run: Path, tmp_path: Path) -> None:
    """A shell lets jobs that a script starts by `&` ignore Ctrl-C: such a job is completed."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy", without="label_quality")
    command = [sys.executable, "-m", "salcr", *faults.words("label_quality", run_copy)]
    with subprocess.Popen(
        command, env=faults.ENVIRONMENT, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as job:  # fmt: skip
        while job.poll() is None:
            job.send_signal(signal.SIGINT)
            time.sleep(0.1)
    assert job.returncode == 0
    written = faults.contents(run_copy, "label_quality")
    assert written == faults.contents(complete_run, "label_quality")


CALLBACK = """
import signal, time, weakref
from salcr import __main__
signal.signal(signal.SIGTERM, __main__._stopped)
class Thing: pass
thing = Thing()
watched = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
del thing
time.sleep(20)
"""


def test_sigterm_where_python_swallows_exceptions_ends_the_job_too() -> None:
    """In a weak reference callback, exceptions are printed and ignored, but not this one."""
    done = subprocess.run(
        [sys.executable, "-c", CALLBACK], env=faults.ENVIRONMENT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (143, f"{STOPPED}\n")


WRITER = """
import sys
from pathlib import Path
import numpy as np
from salcr import files
path, start = Path(sys.argv[1]), int(sys.argv[2])
for number in range(start, 10**9, 2):
    values = [number] * 20_000
    files.write_json(path / "a.json", {"values": values})
    with files.atomic_path(path / "a.npy") as temporary:
        np.save(temporary, np.array(values))
"""


def test_a_reader_always_sees_a_complete_file(tmp_path: Path) -> None:
    """Two processes keep replacing files and are killed: everything that is read is complete."""
    draw = random.Random(0)
    seen: set[int] = set()
    for _ in range(2):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(start)],
                             env=faults.ENVIRONMENT)
            for start in (0, 1)
        ]  # fmt: skip
        new = len(seen) + draw.randrange(3, 12)
        while len(seen) < new:
            if (tmp_path / "a.npy").exists():
                values = files.read_json(tmp_path / "a.json")["values"]
                array = files.map_array(tmp_path / "a.npy")
                for numbers in (values, array.tolist()):
                    assert len(numbers) == 20_000 and len(set(numbers)) == 1
                seen.add(values[0])
        for writer in writers:
            writer.kill()
            writer.wait()
    for name in ("a.json", "a.npy"):  # the next writer deletes what the killed ones left
        with files.atomic_path(tmp_path / name) as temporary:
            temporary.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "a.npy"}


def test_the_temporary_file_of_a_live_writer_remains(tmp_path: Path) -> None:
    """Concurrent writers keep each other's files; the file of a dead one, and a folder, go."""
    path = tmp_path / "a.csv"
    with atomic_path(path) as first:
        first.write_text("first")
        with atomic_path(path) as second:
            second.write_text("second")
            assert first.exists() and first != second
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    dead = [first.with_name(f".a.csv.unfinished-{word}.csv") for word in ("abcd1234", "zyxw9876")]
    others = [tmp_path / ".a.csv.swp", tmp_path / ".b.csv.unfinished-abcd1234.csv"]
    for file in (*dead, *others):
        file.touch()
    files.write_text(path, "new")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])


def test_the_folder_of_a_killed_writer_is_deleted(tmp_path: Path) -> None:
    """A killed synthetic data set is left unfinished: the next synthesis deletes it."""
    left = tmp_path / ".people.unfinished-abcd1234"
    (left / "Visible/1").mkdir(parents=True)
    (left / "Visible/1/a.bmp").touch()
    with temporary_folder(tmp_path / "people") as living:
        assert not left.exists()
        with temporary_folder(tmp_path / "people") as other:
            assert living.exists() and other.exists()
    assert list(tmp_path.iterdir()) == []


def test_synthesize_recovers_from_any_kill(complete_run: Path, tmp_path: Path) -> None:
    """Images without a marker, a temporary marker, or nothing: recreated, with the same files."""
    expected = {
        p.relative_to(complete_run): p.read_bytes()
        for p in complete_run.glob("raw/*/*")
        if p.is_file()
    }
    for number, leave in enumerate(("images", "temporary", "nothing")):
        run_copy = faults.copy_run(complete_run, tmp_path / str(number))
        (run_copy / "raw/synthesize.json").unlink()
        if leave == "temporary":
            (run_copy / "raw/.synthesize.json.unfinished-abcd1234.json").touch()
        if leave == "nothing":
            (run_copy / "raw").rename(run_copy / ".raw.unfinished-abcd1234")
        assert tiny.run(*faults.words("synthesize", run_copy)) == 0
        actual = {
            p.relative_to(run_copy): p.read_bytes() for p in run_copy.glob("raw/*/*") if p.is_file()
        }
        assert actual == expected and not faults.temporaries(run_copy)


def test_a_training_job_has_no_children(complete_run: Path, tmp_path: Path) -> None:
    """There are no loader processes that could be killed, only threads, according to the system."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy", without="train")
    words = [*faults.words("train", run_copy), "--train-iterations", "1000"]
    with subprocess.Popen(
        [sys.executable, "-m", "salcr", *words], env=faults.ENVIRONMENT, stderr=subprocess.PIPE,
        text=True,
    ) as job:  # fmt: skip
        assert job.stderr is not None
        next(line for line in job.stderr if "first of 1000 batches" in line)
        time.sleep(0.5)
        children = [path.read_text() for path in Path(f"/proc/{job.pid}/task").glob("*/children")]
        assert job.poll() is None and children and not any(children)
        job.terminate()
    assert job.returncode == 143


LIMITED = """
import resource, sys
from pathlib import Path
import salcr.stages.pretrain, salcr.stages.train, salcr.stages.associate, salcr.stages.evaluate
from salcr.__main__ import main
pages = int(Path("/proc/self/statm").read_text().split()[0])
size = pages * resource.getpagesize() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (size, size))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain", "associate", "train", "evaluate"])
@pytest.mark.parametrize("megabytes", [1, 20])
def test_a_job_without_memory_writes_nothing(
    complete_run: Path, tmp_path: Path, stage: str, megabytes: int
) -> None:
    """With so little memory beyond its imports, a job fails with one line, or gives equal bytes."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy", without=stage)
    expected = faults.contents(complete_run, stage)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(megabytes << 20), *faults.words(stage, run_copy)],
        env={**faults.ENVIRONMENT, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    actual = faults.contents(run_copy, stage)
    assert all(actual[path] in (None, expected[path]) for path in expected)
    if done.returncode:
        message = faults.the_error(done.stderr)
        print(message)
        assert "out of memory" in message or str(run_copy) in message
    assert tiny.run(*faults.words(stage, run_copy)) == 0
    assert faults.contents(run_copy, stage) == expected
