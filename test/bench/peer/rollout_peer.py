#!/usr/bin/env python3
"""Batched sampling with Transformers `generate` at temperature 1; prints one JSON line.

    python rollout_peer.py --model base.gguf --dtype bf16 --sequences 32 --new 128

One random prompt is shared by all sequences (as in a GRPO group), and no sequence may end early, so every
run decodes sequences × new tokens. --adapter adds a LoRA adapter that is not merged.
"""

from __future__ import annotations

import time

import peft
import torch
from common import arguments, lora_config, peak_memory_mb, prepare, report, reset_peak_memory


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--prompt", type=int, default=48, help="prompt length")
    parser.add_argument("--new", type=int, default=64, help="new tokens per sequence")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--adapter", action="store_true", help="sample through an unmerged LoRA adapter")
    options = parser.parse_args()

    model = prepare(options)
    if options.adapter:
        model = peft.get_peft_model(model, lora_config(options.rank))
    model.eval()
    prompt = torch.randint(0, model.config.vocab_size, (1, options.prompt)).repeat(options.sequences, 1)
    mask = torch.ones_like(prompt)
    sampling = dict(attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0)

    def generate(new: int) -> None:
        with torch.inference_mode():
            out = model.generate(input_ids=prompt, min_new_tokens=new, max_new_tokens=new, **sampling)
        assert out.shape[1] == options.prompt + new

    generate(4)
    reset_peak_memory()
    times, cpu = [], []
    for _ in range(options.repeats):
        started, cpu_started = time.perf_counter(), time.process_time()
        generate(options.new)
        times.append(time.perf_counter() - started)
        cpu.append(time.process_time() - cpu_started)
    best = min(times)
    report(
        options,
        bench="rollout",
        tokens_per_second=round(options.sequences * options.new / best, 1),
        seconds=round(best, 2),
        cpu_seconds=round(min(cpu), 2),
        peak_rss_mb=peak_memory_mb(),
    )


if __name__ == "__main__":
    main()
