#!/usr/bin/env python3
"""Whole GRPO steps with TRL's GRPOTrainer; prints one JSON line.

    python grpo_peer.py --model base.gguf --dtype bf16

Every step: --prompts prompts × --group completions of exactly --new tokens sampled with Transformers
(temperature 1), one inner iteration, --pass sequences per forward and backward, LoRA, AdamW, no KL
(TRL's defaults). Rewards are seeded random numbers, so that no group is without variance.
"""

from __future__ import annotations

import random
import tempfile
import time

import torch
from common import arguments, lora_config, peak_memory_mb, prepare, report, reset_peak_memory
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ivo", "Jun", "Kim", "Leo"]


class StepClock(TrainerCallback):
    """Wall-clock seconds of every optimizer step, sampling included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.started = 0.0

    def on_step_begin(self, *_: object, **__: object) -> None:
        self.started = time.perf_counter()

    def on_step_end(self, *_: object, **__: object) -> None:
        self.seconds.append(time.perf_counter() - self.started)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8, help="completions per prompt")
    parser.add_argument("--new", type=int, default=200, help="tokens of every completion")
    parser.add_argument("--pass", dest="per_pass", type=int, default=8, help="sequences per forward and backward")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--beta", type=float, default=0.0, help="KL weight; above 0 adds the reference's forward")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations layer by layer")
    options = parser.parse_args()

    model = prepare(options)
    tokenizer = AutoTokenizer.from_pretrained(options.model.parent, gguf_file=options.model.name)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    numbers = random.Random(options.seed)
    prompts = [
        f"{name} has {numbers.randint(2, 9)} apples and buys {numbers.randint(2, 9)} more. How many?"
        for name in (NAMES * options.prompts)[: options.prompts]
    ]
    clock = StepClock()
    sequences = options.prompts * options.group
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=model,
            processing_class=tokenizer,
            reward_funcs=lambda completions, **_: [numbers.random() for _ in completions],
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            peft_config=lora_config(options.rank),
            callbacks=[clock],
            args=GRPOConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=options.dtype == "bf16",
                per_device_train_batch_size=options.per_pass,
                gradient_accumulation_steps=sequences // options.per_pass,
                num_generations=options.group,
                num_iterations=1,
                max_completion_length=options.new,
                generation_kwargs={"min_new_tokens": options.new},
                temperature=1.0,
                beta=options.beta,
                gradient_checkpointing=options.checkpointing,
                learning_rate=1e-5,
                max_steps=options.steps,
                optim="adamw_torch",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=options.seed,
            ),
        )
        sampling: list[float] = []
        score = trainer._generate_and_score_completions

        def timed(inputs: object) -> object:
            started = time.perf_counter()
            out = score(inputs)
            sampling.append(time.perf_counter() - started)
            tokens.append(int(out["prompt_mask"].sum() + out["completion_mask"].sum()))
            lengths.update(out["completion_mask"].sum(1).tolist())
            return out

        tokens: list[int] = []
        lengths: set[int] = set()
        trainer._generate_and_score_completions = timed
        reset_peak_memory()
        cpu_started = time.process_time()
        trainer.train()
    cpu_seconds = time.process_time() - cpu_started
    best = min(range(len(clock.seconds)), key=lambda step: clock.seconds[step])
    rollout = sum(sampling) / len(clock.seconds)
    report(
        options,
        bench="grpo",
        step_seconds=round(clock.seconds[best], 1),
        all_step_seconds=[round(seconds, 1) for seconds in clock.seconds],
        rollout_seconds=round(rollout, 1),
        rollout_tokens_per_second=round(sequences * options.new / rollout, 1),
        train_seconds=round(sum(clock.seconds) / len(clock.seconds) - rollout, 1),
        cpu_seconds_per_step=round(cpu_seconds / len(clock.seconds), 1),
        tokens_per_step=tokens[0],
        completion_lengths=sorted(lengths),
        peak_rss_mb=peak_memory_mb(),
    )


if __name__ == "__main__":
    main()
