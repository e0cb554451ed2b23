"""The jobs of gpu/QUEUE.md: each a list of commands that go on where they stand, run unattended on a lent GPU.

    python gpu/jobs.py JOB [--dry-run] [--minutes 8.5]

A job runs on in a session of its own while this program waits, `--minutes` at most, and then packs what is
there into $OUT; the same call again waits on, or starts what was stopped.  Finished runs of earlier leases are
taken from results/h100/JOB, so that nothing is measured twice.  --dry-run: the same commands at their smallest,
on the CPU, to the end.

It knows only which command is run with which settings, not what the commands do.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
WORK = Path(os.environ.get("REREAD_GPU_WORK", "/tmp/reread_gpu"))
DATA = WORK / "data"
MOST = 15 * 2**20  # bytes of a file that comes back
FILES = 8


@dataclass(frozen=True)
class Job:
    """commands: words after `reread`, or a script of this folder with its words; RUNS stands for the job's folder,
    HERE for a name of this GPU and these kernels, so that another GPU or changed kernels are timed anew, LADDER for the
    models that train_ladder has trained on this machine.  dry: the same, small.  needs: packages that the machine lacks
    and that are carried (gpu/QUEUE.md, "Packages")."""

    says: str
    commands: tuple[str, ...]
    dry: tuple[str, ...]
    needs: tuple[str, ...] = ()


def experiment(says: str, recipe: str, more: str = "", needs: str = "") -> Job:
    """An experiment at scale h100; dry: at scale smoke."""
    command = f"experiment recipes/{recipe}.toml --out RUNS/{recipe}"
    return Job(says, (f"{command} --scale h100 {more}",), (f"{command} --scale smoke",), tuple(needs.split()))


def bench_op(out: str, real: str) -> tuple[str, str]:
    """Timings of the op in a folder of the job; dry: one small size."""
    passes = real.split("passes=")[1].split()[0]
    small = "--set sizes=64 --set batches=2 --set dtypes=float32 --set heads=2 --set feature_dim=4 --set value_dim=8"
    return (
        f"bench op --device cuda --out RUNS/HERE/{out} --set dtypes=bfloat16 --set rounds=15 {real}",
        f"bench op --device cpu --out RUNS/HERE/{out} --set rounds=1 --set passes={passes} {small}",
    )


def bench_models(size: str, batches: str) -> tuple[str, str]:
    """Timings of whole models of one size; dry: the two smallest that there are, some tokens."""
    words = '--set models=["llama{0}","prefix_lm{0}"]'
    return (
        f"bench model --device cuda --out RUNS/HERE/{size} {words.format('-' + size)} --set tokens=[2048,8192,32768] "
        f"--set batches={batches} --set dtypes=bfloat16 --set new=32 --set rounds=5",
        f"bench model --device cpu --out RUNS/HERE/{size} {words.format('-tiny')} --set tokens=8 --set batches=2 "
        "--set new=1 --set rounds=1",
    )


LENGTHS = "--set sizes=[2048,4096,8192,16384,32768]"
OPS = (
    bench_op("forward", f"--set passes=forward --set batches=16 {LENGTHS} --set prefixes=[0.5,1024]"),
    bench_op("backward", f"--set passes=backward --set batches=16 {LENGTHS} --set prefixes=[0.5,1024]"),
    bench_op("batches", "--set passes=forward --set batches=[2,4,8,32,64] --set sizes=16384"),
    bench_op("decode", "--set passes=decode --set batches=[1,4,16,64,256] --set sizes=2048"),
)
MODELS = (bench_models("130m", "[1,16]"), bench_models("360m", "[1,4]"), bench_models("1.3b", "[1,4]"))


JOBS: dict[str, Job] = {
    "selftest": Job(
        "every kernel against float64, with two assemblers, and under compute-sanitizer",
        ("gpu/selftest.py --out RUNS",),
        ("gpu/selftest.py --out RUNS --dry",),
    ),
    "pace": Job(
        "tokens per second of training, one model of the ladder, 60 steps",
        (
            "train recipes/small_jrt.toml --set out=RUNS/pace --set threads=4 --set workers=4 --set log_steps=10 "
            "--set recall_steps=100000 --set data.characters=5000000 --set stages=[{steps=60,tokens=1024,rows=32}] "
            "--set model.hidden_size=512 --set model.intermediate_size=1408 --set model.num_attention_heads=8 "
            "--set model.feature_dim=16",
        ),
        (
            "train recipes/small_jrt.toml --set out=RUNS/pace --set log_steps=2 --set recall_steps=100000 "
            "--set data.characters=100000 --set stages=[{steps=4,tokens=192,rows=2}] --set model.hidden_size=32 "
            "--set model.intermediate_size=48 --set model.num_attention_heads=4 --set model.feature_dim=4",
        ),
    ),
    "bench_ops": Job("times of the kernels", *zip(*OPS, strict=True)),
    "tune_ops": Job(
        "which tiles and segment lengths are fastest",
        ("gpu/tune.py --out RUNS/HERE",),
        ("gpu/tune.py --out RUNS/HERE --dry",),
    ),
    "bench_models": Job(
        "times of whole models against Transformers of equal size",
        tuple(real for real, _ in MODELS),
        (MODELS[0][1],),
    ),
    "train_ladder": experiment("five models of equal size, data and tokens", "ladder", needs="lxml"),
    "ladder_reading": experiment(
        "those five models within the lengths they were trained on, every way of looking again", "ladder_reading",
        "--set models=LADDER", "lxml nupunkt bm25s",
    ),
    "feature_maps": experiment("feature maps at equal widths", "feature_maps", "--jobs 4 --set train.seed=0"),
    "feature_maps_state": experiment(
        "feature maps at equal bytes of state", "feature_maps_state", "--jobs 4 --set train.seed=0"
    ),
    "feature_maps_mqar": experiment("feature maps on MQAR", "feature_maps_mqar", "--jobs 6 --set seed=0"),
    "feature_maps_sets": experiment("feature maps on set disjointness", "feature_maps_sets", "--jobs 6 --set seed=0"),
    "feature_maps_mqar_state": experiment(
        "feature maps on MQAR at equal bytes", "feature_maps_mqar_state", "--jobs 6 --set seed=0"
    ),
    "feature_maps_sets_state": experiment(
        "feature maps on sets at equal bytes", "feature_maps_sets_state", "--jobs 6 --set seed=0"
    ),
    "ablations": experiment("parts of JRT-RNN", "ablations", "--jobs 3 --set train.seed=0", "lxml"),
    "prefix_training": experiment(
        "prefixes of drawn length", "prefix_training", "--jobs 3 --set train.seed=0", "lxml"
    ),
    "short_prompts": experiment(
        "prompts shorter than the prefix", "short_prompts", "--jobs 3 --set train.seed=0", "lxml"
    ),
    "order": experiment("the order effect", "order", "--jobs 6 --set steps=18000 --set learning_rates=[5e-4,8e-4]"),
    "mqar": experiment("pairs that a state holds", "mqar", "--jobs 6"),
    "law_trained": experiment("a second reading, on trained models", "law_trained", "--jobs 6 --set seed=0"),
    "prefix_policies": experiment(
        "how long the prefix is, the embedded model on a GPU", "prefix_policies", needs="lxml"
    ),
    "few_shot": experiment("answered examples in the prompt, the embedded models on a GPU", "few_shot", needs="lxml"),
    "six_tasks": experiment(
        "six tasks, all strategies, the embedded models on a GPU", "six_tasks", needs="lxml nupunkt bm25s"
    ),
}  # fmt: skip


def unpack(parts: Path) -> str:
    """Keep the parts of the data that came along, and unpack them once all are here."""
    kept = WORK / "parts"
    kept.mkdir(parents=True, exist_ok=True)
    for part in parts.rglob("part_*_of_*"):
        shutil.copy(part, kept)
    found = sorted(kept.glob("part_*_of_*"))
    if not found:
        return "no part of the data has come: carry gpu_data/00 and so on (gpu/QUEUE.md)"
    count = int(found[0].name.rpartition("_")[2])
    if len(found) < count:
        return f"{len(found)} of {count} parts of the data are here"
    DATA.mkdir(exist_ok=True)
    reading = subprocess.Popen(["cat", *map(str, found)], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", str(DATA), "-xf", "-"], stdin=reading.stdout, check=True)
    if reading.wait():
        return "the parts of the data could not be read"
    shutil.rmtree(kept)
    return f"the data is in {DATA}"


def data_folder() -> Path | None:
    """The benchmark files: unpacked here, or REREAD_DATA."""
    given = os.environ.get("REREAD_DATA")
    return DATA if DATA.is_dir() else Path(given) if given else None


def said(*command: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None


@functools.cache
def here() -> str:
    """The GPU and a hash of the ops and of what times them."""
    whole = hashlib.sha256()
    source = ROOT / "src" / "reread"
    for path in sorted([*(source / "ops").glob("*.py"), source / "bench.py", source / "op_bench.py"]):
        whole.update(path.read_bytes())
    gpu = (said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader") or "no GPU").splitlines()[0]
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{gpu} {whole.hexdigest()[:8]}")


def facts() -> dict[str, str | None]:
    """What this machine is."""
    probe = "import torch; print(torch.__version__, torch.cuda.is_available())"
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": os.environ.get("REREAD_COMMIT") or said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"),
        "gpu": said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
        "torch": said(sys.executable, "-c", probe),
        "triton": said(sys.executable, "-c", "import triton; print(triton.__version__)"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def script(name: str, runs: Path, dry: bool) -> list[list[str]]:
    """The commands of a job as argument lists."""
    job, data = JOBS[name], data_folder()
    found = []
    for command in job.dry if dry else job.commands:
        stands = {"RUNS": str(runs), "HERE": here(), "LADDER": json.dumps(ladder(), separators=(",", ":"))}
        words = command.split()
        for stand, value in stands.items():
            words = [word.replace(stand, value) for word in words]
        if words[0].endswith(".py"):
            found.append([sys.executable, *words])
            continue
        needs = words[0] in ("experiment", "train") and data is not None
        found.append([sys.executable, "-m", "reread", *words, *(["--data", str(data)] if needs else [])])
    return found


def ladder() -> list[str]:
    """The folders of the models that train_ladder has trained here."""
    return sorted(map(str, (WORK / "runs" / "train_ladder" / "ladder").glob("*/train/model")))


def missing(name: str, dry: bool) -> str:
    """What to carry, or to run, for a job before it can start; nothing where all is here."""
    if any("LADDER" in command for command in (JOBS[name].dry if dry else JOBS[name].commands)) and not ladder():
        return f"gpu: {name} needs the models of train_ladder, trained on this machine: run that first"
    lacking = [package for package in JOBS[name].needs if importlib.util.find_spec(package) is None]
    how = "carry them as wheels in .whl (gpu/QUEUE.md, Packages)"
    return f"gpu: {name} needs {', '.join(lacking)}: {how}" if lacking else ""


def carry_out(name: str, runs: Path, dry: bool) -> int:
    """Every command in turn, whatever became of those before; the first code that is not 0."""
    worst = 0
    for command in script(name, runs, dry):
        if timed(command):
            continue
        print("gpu:", *command[1:], flush=True)
        if code := subprocess.run(command, cwd=ROOT).returncode:
            print(f"gpu: ended with {code}", flush=True)
            worst = worst or code
    if not worst:
        (runs / "finished").write_text(here())
    return worst


def finished(runs: Path) -> bool:
    """Whether the job came to its end on this GPU with these kernels."""
    return (runs / "finished").exists() and (runs / "finished").read_text() == here()


def timed(command: list[str]) -> bool:
    """Whether this is a timing that an earlier call finished; one that was stopped begins anew."""
    if "bench" not in command:
        return False
    out = Path(command[command.index("--out") + 1])
    if (out / "done.json").exists():
        return True
    shutil.rmtree(out, ignore_errors=True)
    return False


def start(name: str, runs: Path) -> None:
    """Start the job in a session of its own unless it runs or is finished."""
    if finished(runs) or alive(runs):
        return
    earlier = ROOT / "results" / "h100" / name
    if earlier.is_dir() and not (runs / "log.txt").exists():  # what was done since on this machine is newer
        shutil.copytree(earlier, runs, dirs_exist_ok=True)
    with (runs / "log.txt").open("a") as log:
        child = subprocess.Popen(
            [sys.executable, __file__, name, "--inside"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "REREAD_DEVICE": os.environ.get("REREAD_DEVICE", "cuda")},
        )  # fmt: skip
    (runs / "pid").write_text(str(child.pid))


def written(runs: Path) -> list[Path]:
    """Every file of a job but its checkpoints, which a trainer deletes while this looks."""
    found = []
    for folder, inside, files in os.walk(runs):
        inside[:] = [name for name in inside if name != "checkpoints"]
        found += [Path(folder) / name for name in files if name != "pid"]
    return sorted(found)


def bring_back(name: str, runs: Path, out: Path, weights: str = "") -> list[str]:
    """Headers, rows, reports and logs as one archive; and the weights of the models whose folder holds that text, in
    parts that can travel (`cat` joins them), as many as do."""
    out.mkdir(parents=True, exist_ok=True)
    found = written(runs)
    archive = out / f"{name}.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        for path in found:
            if path.suffix in (".json", ".jsonl", ".xz", ".md", ".svg", ".txt") and path.parent.name != "model":
                with contextlib.suppress(FileNotFoundError):  # the job goes on meanwhile
                    tar.add(path, arcname=f"{name}/{path.relative_to(runs)}")
    files = [archive]
    chosen = [path for path in found if path.match("model/model.safetensors") and weights and weights in str(path)]
    for path in chosen:
        name = path.relative_to(runs).parts[-4 if "train" in path.parts else -3]
        with path.open("rb") as source:
            for number in range(-(-path.stat().st_size // MOST)):
                part = out / f"{name}.safetensors.{number:02d}"
                part.write_bytes(source.read(MOST))
                files.append(part)
    if len(files) > FILES:
        print(f"gpu: {len(files)} files, of which {FILES} come back at once: name one model with --weights")
    return [f"{path} ({path.stat().st_size:,} bytes)" for path in files]


def alive(runs: Path) -> bool:
    """Whether the job's process, this program's child or one of an earlier call, still runs."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((runs / "pid").read_text())
        with contextlib.suppress(ChildProcessError):
            return os.waitpid(pid, os.WNOHANG) == (0, 0)
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait(runs: Path, minutes: float) -> None:
    until = time.monotonic() + 60 * minutes
    while time.monotonic() < until and alive(runs):
        time.sleep(1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=["unpack", "facts", *JOBS])
    parser.add_argument("--dry-run", action="store_true", help="the same commands at their smallest, on the CPU")
    parser.add_argument("--minutes", type=float, default=8.5, help="how long this call waits")
    parser.add_argument("--weights", default="", help="bring back the weights of models whose folder holds this")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job == "unpack":
        print(unpack(ROOT / "gpu_data"))
        return 0
    if given.job == "facts":
        print(json.dumps(facts(), indent=1))
        return 0
    runs = WORK / ("dry" if given.dry_run else "runs") / given.job
    runs.mkdir(parents=True, exist_ok=True)
    if given.inside:
        return carry_out(given.job, runs, dry=False)
    if lacking := missing(given.job, given.dry_run):
        print(lacking, file=sys.stderr)
        return 2
    out = Path(os.environ.get("OUT") or WORK / "out")
    if given.dry_run:
        (runs / "facts.json").write_text(json.dumps(facts(), indent=1) + "\n")
        code = carry_out(given.job, runs, dry=True)
        print("\n".join(bring_back(given.job, runs, out, given.weights)))
        return code
    start(given.job, runs)  # which may copy an earlier lease's facts
    (runs / "facts.json").write_text(json.dumps(facts(), indent=1) + "\n")
    wait(runs, given.minutes)
    print("".join((runs / "log.txt").read_text(errors="replace").splitlines(keepends=True)[-40:]))
    print("\n".join(bring_back(given.job, runs, out, given.weights)))
    if finished(runs):
        print("finished")
        return 0
    running = alive(runs)
    print("not finished: the same call goes on" if running else "it ended before its end: the log says why")
    return 0 if running else 1


if __name__ == "__main__":
    sys.exit(main())
