"""What the peer benchmarks share: loading the same GGUF, the same adapter, memory, one JSON line.

Each benchmark here measures PyTorch, Transformers, PEFT and TRL on the work that `npm run bench` measures
on our side, so that the two can be compared as a ratio on one machine. They need a Python of their own:

    python3 -m venv venv && venv/bin/pip install \\
        torch==2.15.0 transformers==5.23.0 peft==0.21.2 trl==1.16.0 gguf==0.19.0 accelerate datasets
    REASONSMITH_PYTHON=venv/bin/python npm run bench

or one by one: `venv/bin/python test/bench/peer/sft_peer.py --model base.gguf --dtype bf16 --tokens 512`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
warnings.filterwarnings("ignore")

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

transformers.utils.logging.disable_progress_bar()

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def arguments(description: str) -> argparse.ArgumentParser:
    """The options every peer benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="base GGUF, dequantised by Transformers")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def prepare(options: argparse.Namespace) -> transformers.PreTrainedModel:
    """Sets threads and seed and loads the base in the asked-for type."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    path: Path = options.model
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=DTYPES[options.dtype], attn_implementation="sdpa"
    )
    # Every weight is an ordinary tensor by now, yet Transformers still calls the model quantised, and its
    # Trainer refuses to train those.
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def lora_config(rank: int) -> peft.LoraConfig:
    """LoRA on all seven projections, scale 1, no dropout."""
    return peft.LoraConfig(
        r=rank, lora_alpha=rank, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", target_modules=PROJECTIONS
    )


def reset_peak_memory() -> None:
    """Forgets the peak so far, where the system can (Linux); else the peak includes loading."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_memory_mb() -> int:
    """Peak resident memory in MiB since the last reset."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024)
    except OSError:
        pass
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def report(options: argparse.Namespace, **numbers: object) -> None:
    """Prints settings, numbers and versions as one JSON line, the last line of standard output."""
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    settings["model"] = options.model.name
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft)}
    print(json.dumps({**numbers, "settings": settings, "versions": versions, "machine": platform.machine()}), flush=True)
