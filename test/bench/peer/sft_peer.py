#!/usr/bin/env python3
"""LoRA SFT with PyTorch + PEFT on random tokens, every token trained; prints one JSON line.

    python sft_peer.py --model base.gguf --dtype bf16 --tokens 512
    python sft_peer.py --model base.gguf --dtype f32 --tokens 2048 --checkpointing

Times are medians over --steps optimizer steps after --warmup untimed ones. `cpu_ms` is the processor time of
all threads together: on a machine that is busy with other work, cpu_ms / threads says what a quiet one would
need. bf16 is only worth comparing with on processors that have it (AVX-512 BF16, AMX, Arm BF16): elsewhere
PyTorch's bf16 backward is many times slower than f32, and f32 is the peer's best.
"""

from __future__ import annotations

import statistics
import time

import peft
import torch
from common import arguments, lora_config, peak_memory_mb, prepare, report, reset_peak_memory


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512, help="sequence length")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations layer by layer")
    parser.add_argument("--base-dtype-adapter", action="store_true", help="adapter in the base's type (PEFT: f32)")
    options = parser.parse_args()

    base = prepare(options)
    model = peft.get_peft_model(base, lora_config(options.rank), autocast_adapter_dtype=not options.base_dtype_adapter)
    model.train()
    model.config.use_cache = False
    if options.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    tokens = torch.randint(0, model.config.vocab_size, (options.batch, options.tokens))

    reset_peak_memory()
    rows, cpu = [], []
    for step in range(options.warmup + options.steps):
        started, cpu_started = time.perf_counter(), time.process_time()
        loss = model(input_ids=tokens, labels=tokens).loss
        forwarded = time.perf_counter()
        loss.backward()
        backwarded = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ended = time.perf_counter()
        if step >= options.warmup:
            rows.append((forwarded - started, backwarded - forwarded, ended - backwarded, ended - started))
            cpu.append(time.process_time() - cpu_started)
    forward, backward, update, total = (statistics.median(column) for column in zip(*rows, strict=True))
    report(
        options,
        bench="sft",
        tokens_per_second=round(options.batch * options.tokens / total, 1),
        peak_rss_mb=peak_memory_mb(),
        forward_ms=round(1000 * forward, 1),
        backward_ms=round(1000 * backward, 1),
        step_ms=round(1000 * update, 1),
        total_ms=round(1000 * total, 1),
        total_ms_min=round(1000 * min(row[3] for row in rows), 1),
        cpu_ms=round(1000 * statistics.median(cpu), 1),
        loss=round(float(loss.detach()), 4),
    )


if __name__ == "__main__":
    main()
