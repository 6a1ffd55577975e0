#!/usr/bin/env python3
"""Loads a base and, if given, a PEFT adapter folder with Transformers + PEFT; prints logits as JSON.

The oracle of the test that checks our PEFT export; that test runs when REASONSMITH_PYTHON names a Python
with torch, transformers, peft and gguf (versions as in generate.py).

    python check_peft_export.py --base lora-base.gguf --adapter exported/ --tokens '[[5, 6, 7], [8, 9]]'

--base is a Hugging Face folder or a GGUF (dequantised to float32 by Transformers). --tokens is a JSON list
of token lists, or @file, or - for standard input. Output, one line:

    {"logits": [[[…vocabulary…] per position] per sequence], "vocab": 128, "adapter_tensors": 42,
     "unexpected": [], "missing": [], "versions": {…}}

With --last only the last position of each sequence is printed. A name that PEFT does not know, or one it
misses, is listed and the exit code is 1; shapes that do not fit fail inside PEFT.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
warnings.filterwarnings("ignore")

import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft.utils.save_and_load import get_peft_model_state_dict, load_peft_weights  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402


def load_base(path: Path) -> torch.nn.Module:
    """A float32 model from a Hugging Face folder or from one GGUF file."""
    if path.is_dir():
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)


def add_adapter(base: torch.nn.Module, folder: Path) -> tuple[torch.nn.Module, dict]:
    """Puts the adapter on and compares the names in its file with the names PEFT itself would write."""
    model = peft.PeftModel.from_pretrained(base, folder)
    given = set(load_peft_weights(str(folder), device="cpu"))
    expected = set(get_peft_model_state_dict(model))
    return model, {
        "adapter_tensors": len(given),
        "unexpected": sorted(given - expected),
        "missing": sorted(expected - given),
    }


def read_tokens(text: str) -> list[list[int]]:
    """Parses --tokens: JSON, @file, or - for standard input."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        text = Path(text[1:]).read_text()
    return json.loads(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--last", action="store_true", help="print only the last position of each sequence")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    model = load_base(options.base).eval()
    report: dict = {"unexpected": [], "missing": []}
    if options.adapter:
        model, report = add_adapter(model, options.adapter)
        model.eval()
    logits = []
    with torch.no_grad():
        for tokens in read_tokens(options.tokens):
            rows = model(input_ids=torch.tensor([tokens])).logits[0].float()
            logits.append(rows[-1:].tolist() if options.last else rows.tolist())
    report |= {
        "logits": logits,
        "vocab": model.config.vocab_size,
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, peft)},
    }
    json.dump(report, sys.stdout)
    print()
    return 1 if report["unexpected"] or report["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
