#!/usr/bin/env python3
"""Makes the golden files that the engine is tested against, with PyTorch + Transformers + PEFT.

How to run (only needed when the golden files are to be remade; the tests need no Python):

    python3 -m venv venv && venv/bin/pip install \\
        torch==2.15.0 transformers==5.23.0 peft==0.21.2 gguf==0.19.0 safetensors==0.8.0 numpy==2.4.6
    venv/bin/python test/engine/golden/generate.py

It writes, beside itself:

    lora-base.gguf      a tiny random Llama, untied head, every tensor F32, loadable by stock llama.cpp
    lora-adapter.gguf   a LoRA adapter of it (r 4, alpha 8, all seven projections, B not zero)
    tied-base.gguf      a second tiny Llama with tied embeddings, for full-parameter training
    golden.safetensors  what PyTorch computes with them (see "What is in it" below)
    golden.json         versions, settings of every loss variant, suggested tolerances
    peft.json           names, shapes and some values of PEFT's own export of the adapter (HF layout)

Layout. `golden.safetensors` speaks GGUF, not Hugging Face: names are GGUF names and the rows of q and k
are permuted as llama.cpp's converter permutes them (its rope rotates neighbouring pairs for the `llama`
architecture where Transformers rotates halves). The permutation touches the output rows of attn_q and
attn_k only: their base weights, their lora_b, and the gradients of both. lora_a is never touched. A
numpy shape (rows, columns) is ggml's ne = [columns, rows].

Conventions for per-token rows. A sequence has T tokens. Row t of `mask`, `logprob`, `entropy`, ... is
about token t as a target, that is about the distribution predicted from the tokens before it (logits
row t-1); row 0 is always 0. Row t of `logits` is the output at position t.

What is in it. P is a GGUF parameter name such as blk.0.attn_q.weight.lora_a; N counts sequences.

    sft.* (lora-base + lora-adapter) and full.* (tied-base, every weight trained, no adapter):
        seqN.{tokens, mask} [T]    seqN.{logits, base_logits} [T, vocabulary] (base_logits: adapter off; sft only)
        seqN.{logprob, entropy} [T]    loss [1]    grad_norm [1]    grad.P (of the loss, before clipping)
        losses, grad_norms [steps] (before each AdamW step on the same batch)    after.P (after all steps)
    grpo.* (lora-base + lora-adapter, not yet trained):
        seqN.{tokens, mask, logprob, entropy, old_logprob, ref_logprob} [T]    advantages [4]
        VARIANT.loss [1]    VARIANT.seqN.dloss_dlogprob [T]    VARIANT.seqN.dloss_dentropy [T] (entropy only)
        VARIANT.grad.P, VARIANT.grad_norm (of the variants that golden.json marks `gradients`)
        after.P (after one clipped AdamW step on the `grpo` variant)

AdamW is torch.optim.AdamW with one group: decay is decoupled and applies to every trained tensor, norms
and embeddings included. Clipping is torch.nn.utils.clip_grad_norm_ (factor max/(norm + 1e-6), at most 1).
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import peft
import safetensors
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
FORMAT_VERSION = 1
SEED = 20250430
VOCAB = 128
CONTEXT = 256
LORA_RANK, LORA_ALPHA = 4, 8
ADAM = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
MAX_GRAD_NORM = 1.0

PROJECTIONS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


# ── models ────────────────────────────────────────────────────────────────────────────────────────


def tiny_config(*, hidden: int, layers: int, heads: int, kv_heads: int, ff: int, tied: bool) -> LlamaConfig:
    """A Llama small enough to check in, with grouped-query attention so that kv sharing is tested."""
    return LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=hidden,
        intermediate_size=ff,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=tied,
        attention_bias=False,
        mlp_bias=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )


def random_llama(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A float32 model whose weights are large enough for peaked predictions and for norms away from 1."""
    model = LlamaForCausalLM._from_config(config, dtype=torch.float32, attn_implementation="eager")
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=rng)
            if name.endswith("norm.weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif "embed_tokens" in name:
                parameter.copy_(0.3 * noise)
            else:
                parameter.copy_(1.2 * noise / parameter.shape[1] ** 0.5)
    return model.eval()


def with_lora(model: LlamaForCausalLM, seed: int) -> peft.PeftModel:
    """Puts a LoRA adapter on all seven projections; B is random so that no gradient of A vanishes."""
    config = LoraConfig(
        r=LORA_RANK,
        lora_alpha=LORA_ALPHA,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=[name.split(".")[1] for name in PROJECTIONS],
    )
    lora = get_peft_model(model, config)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora_A" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=rng) / parameter.shape[1] ** 0.5)
            elif "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=rng))
    return lora.eval()


# ── Hugging Face names and layout → GGUF names and layout ─────────────────────────────────────────


def permute_rows(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorders each head's output rows from rotate-halves (HF) to neighbouring pairs (GGUF `llama`)."""
    half = rows.shape[0] // heads // 2
    pairs = rows.reshape(heads, 2, half, -1).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(pairs.reshape(rows.shape))


def gguf_name(hf_name: str) -> str:
    """GGUF's name of a Transformers or PEFT parameter."""
    name = hf_name.removeprefix("base_model.model.").replace(".base_layer.", ".").replace(".default.", ".")
    fixed = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    module, _, suffix = rest.rpartition(".")
    for part in ("lora_A", "lora_B"):
        if module.endswith("." + part):
            module, suffix = module.removesuffix("." + part), "weight." + part.lower()
    return f"blk.{layer}.{(PROJECTIONS | NORMS)[module]}.{suffix}"


def to_gguf(hf_name: str, tensor: torch.Tensor, config: LlamaConfig) -> tuple[str, np.ndarray]:
    """A parameter, or its gradient, under GGUF's name and in GGUF's row order."""
    name = gguf_name(hf_name)
    value = tensor.detach().to(torch.float32).numpy().copy()
    if name.endswith(("attn_q.weight", "attn_q.weight.lora_b")):
        value = permute_rows(value, config.num_attention_heads)
    if name.endswith(("attn_k.weight", "attn_k.weight.lora_b")):
        value = permute_rows(value, config.num_key_value_heads)
    return name, value


# ── GGUF files ────────────────────────────────────────────────────────────────────────────────────


def byte_symbol(byte: int) -> str:
    """The printable character that stands for a byte in byte-level BPE vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in printable:
        return chr(byte)
    return chr(256 + [b for b in range(256) if b not in printable].index(byte))


def tiny_tokenizer() -> tuple[list[str], list[int], list[str]]:
    """Tokens, token types and merges: three control tokens, newline and printable ASCII, a few merges."""
    normal, control, unused = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.UNUSED
    space = byte_symbol(32)
    merges = [f"{space} t", "h e", "i n", "r e", "a n", f"{space}t he", f"{space} a", f"{space} =", "e r", "o n"]
    tokens = ["<|bos|>", "<|endoftext|>", "<|pad|>", byte_symbol(10)]
    tokens += [byte_symbol(byte) for byte in range(32, 127)]
    tokens += [merge.replace(" ", "") for merge in merges]
    types = [control] * 3 + [normal] * (len(tokens) - 3)
    while len(tokens) < VOCAB:
        tokens.append(f"<|unused_{VOCAB - len(tokens)}|>")
        types.append(unused)
    return tokens, [int(t) for t in types], merges


def write_base(path: Path, model: LlamaForCausalLM, name: str) -> None:
    """Writes the model as an F32 GGUF of architecture `llama` that stock llama.cpp loads."""
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    tokens, types, merges = tiny_tokenizer()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_add_bos_token(False)
    for hf_name, parameter in model.named_parameters():
        writer.add_tensor(*to_gguf(hf_name, parameter, config))
    finish(writer)


def write_adapter(path: Path, lora: peft.PeftModel, name: str) -> None:
    """Writes the adapter as the GGUF that llama.cpp's `--lora` takes."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(name)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(LORA_ALPHA))
    for hf_name, parameter in trained(lora):
        writer.add_tensor(*to_gguf(hf_name, parameter, lora.config))
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ── sequences and what a model says about them ────────────────────────────────────────────────────


@dataclass
class Sequence:
    """Tokens and, for each, whether it is a target of the loss."""

    tokens: torch.Tensor
    mask: torch.Tensor


def random_sequence(prompt: int, length: int, rng: torch.Generator) -> Sequence:
    """Random ordinary tokens; the first `prompt` of them are context only."""
    tokens = torch.randint(3, VOCAB, (length,), generator=rng)
    mask = torch.ones(length)
    mask[:prompt] = 0
    return Sequence(tokens, mask)


@dataclass
class Scores:
    """Per-token rows of one sequence: see the conventions at the top of this file."""

    logits: torch.Tensor
    logprob: torch.Tensor
    entropy: torch.Tensor


def score(model: torch.nn.Module, sequence: Sequence) -> Scores:
    """Runs one sequence by itself (no padding, no packing)."""
    logits = model(input_ids=sequence.tokens[None]).logits[0]
    log_softmax = torch.log_softmax(logits[:-1], dim=-1)
    logprob = log_softmax.gather(1, sequence.tokens[1:, None])[:, 0]
    entropy = -(log_softmax.exp() * log_softmax).sum(-1)
    zero = torch.zeros(1)
    return Scores(logits, torch.cat([zero, logprob]), torch.cat([zero, entropy]))


def trained(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sets `.grad` of every trained parameter from the loss and returns the gradients by HF name."""
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    return {name: parameter.grad.clone() for name, parameter in trained(model)}


def global_norm(grads: dict[str, torch.Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in grads.values()])))


# ── losses ────────────────────────────────────────────────────────────────────────────────────────


def sft_loss(model: torch.nn.Module, sequences: list[Sequence]) -> torch.Tensor:
    """Cross-entropy, mean over the masked-in tokens of the whole batch."""
    total = sum(-(score(model, s).logprob * s.mask).sum() for s in sequences)
    return total / sum(s.mask.sum() for s in sequences)


@dataclass(frozen=True)
class Variant:
    """One policy-gradient loss; the names of the settings follow TRL's GRPOConfig."""

    loss_type: str = "grpo"  # grpo | bnpo | dapo | dr_grpo: how tokens are averaged
    ratio: str = "token"  # token | sequence (GSPO)
    epsilon_low: float = 0.2
    epsilon_high: float = 0.2
    delta: float | None = None  # dual clip: upper bound of the unclipped ratio
    beta: float = 0.04
    kl: str = "k3"  # k1 | k2 | k3 estimator of KL(policy || reference)
    entropy_coef: float = 0.0


VARIANTS = {
    "grpo": Variant(),
    "dapo": Variant(loss_type="dapo", epsilon_high=0.28),
    "dr_grpo": Variant(loss_type="dr_grpo"),
    "gspo": Variant(ratio="sequence", epsilon_low=0.01, epsilon_high=0.02),
    "entropy": Variant(entropy_coef=0.01),
    "bnpo": Variant(loss_type="bnpo", beta=0.0),
    "no_kl": Variant(beta=0.0),
    "k1": Variant(kl="k1"),
    "k2": Variant(kl="k2"),
    "dual_clip": Variant(delta=1.5),
}
WITH_GRADIENTS = ("grpo", "dapo", "dr_grpo", "gspo", "entropy")
MAX_COMPLETION = 24  # dr_grpo's constant length
ADVANTAGES = (1.25, -0.75, 0.5, -1.5)


def policy_loss(
    variant: Variant,
    logprobs: list[torch.Tensor],
    entropies: list[torch.Tensor],
    old: list[torch.Tensor],
    reference: list[torch.Tensor],
    masks: list[torch.Tensor],
    advantages: torch.Tensor,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of one optimizer step over whole sequences, and its metrics.

    Per token, with r = exp(logprob - old) (or, for a sequence-level ratio, r = exp of the mean of that
    difference over the sequence's masked tokens) and A the advantage of the sequence:

        token loss = -min(min(r, delta)·A, clip(r, 1 - epsilon_low, 1 + epsilon_high)·A) + beta·KL
        k3: exp(ref - logprob) - (ref - logprob) - 1,  k2: (logprob - ref)²/2,  k1: logprob - ref

    Aggregation over masked tokens, with L_i tokens in sequence i and N sequences:

        grpo: mean over i of (sum_t / L_i)      dapo, bnpo: sum / sum_i L_i
        dr_grpo: sum / (N · MAX_COMPLETION)     entropy bonus: minus coef · sum(entropy) / sum_i L_i

    (dapo and bnpo are the same when one batch is one step, as here; they differ in TRL when a step is
    made of several micro-batches: dapo divides by the tokens of the whole step.)
    """
    sums, means, clipped, kls = [], [], [], []
    for logp, old_logp, ref, mask, advantage in zip(logprobs, old, reference, masks, advantages, strict=True):
        length = mask.sum()
        log_ratio = (logp - old_logp) * mask
        if variant.ratio == "sequence":
            log_ratio = (log_ratio.sum() / length).expand_as(logp)
        ratio = log_ratio.exp()
        bounded = ratio if variant.delta is None else ratio.clamp(max=variant.delta)
        clip = ratio.clamp(1 - variant.epsilon_low, 1 + variant.epsilon_high)
        token_loss = -torch.minimum(bounded * advantage, clip * advantage)
        difference = ref - logp
        kl = {
            "k1": -difference,
            "k2": difference.square() / 2,
            "k3": difference.exp() - difference - 1,
        }[variant.kl]
        token_loss = token_loss + variant.beta * kl
        sums.append((token_loss * mask).sum())
        means.append(sums[-1] / length)
        low = (ratio < 1 - variant.epsilon_low) & (advantage < 0)
        high = (ratio > 1 + variant.epsilon_high) & (advantage > 0)
        clipped.append(((low | high) * mask).sum())
        kls.append((kl * mask).sum())
    tokens = sum(mask.sum() for mask in masks)
    if variant.loss_type == "grpo":
        loss = torch.stack(means).mean()
    elif variant.loss_type == "dr_grpo":
        loss = torch.stack(sums).sum() / (len(sums) * MAX_COMPLETION)
    else:
        loss = torch.stack(sums).sum() / tokens
    entropy = sum((h * mask).sum() for h, mask in zip(entropies, masks, strict=True)) / tokens
    loss = loss - variant.entropy_coef * entropy
    metrics = {
        "clip_ratio": float((sum(clipped) / tokens).detach()),
        "kl": float((sum(kls) / tokens).detach()),
        "entropy": float(entropy.detach()),
    }
    return loss, metrics


# ── the three parts of the golden file ────────────────────────────────────────────────────────────


class Golden:
    """Collects tensors by name, float32 or int32."""

    def __init__(self) -> None:
        self.tensors: dict[str, np.ndarray] = {}

    def put(self, name: str, value: torch.Tensor | np.ndarray | list[float] | float) -> None:
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        dtype = np.int32 if np.issubdtype(array.dtype, np.integer) else np.float32
        self.tensors[name] = np.ascontiguousarray(np.atleast_1d(array).astype(dtype))

    def put_parameters(self, prefix: str, values: dict[str, torch.Tensor], config: LlamaConfig) -> None:
        for hf_name, tensor in values.items():
            name, array = to_gguf(hf_name, tensor, config)
            self.put(f"{prefix}.{name}", array)


def train(model: torch.nn.Module, sequences: list[Sequence], steps: int) -> tuple[list[float], list[float]]:
    """Takes AdamW steps on one fixed batch; returns each step's loss and gradient norm before clipping."""
    parameters = [parameter for _, parameter in trained(model)]
    optimizer = torch.optim.AdamW(parameters, **ADAM)
    losses, norms = [], []
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = sft_loss(model, sequences)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, norms


def put_sft(golden: Golden, prefix: str, model: torch.nn.Module, sequences: list[Sequence], steps: int) -> None:
    """Scores, loss, gradients and a short training run of `model` (which is changed by it)."""
    for index, sequence in enumerate(sequences):
        row = f"{prefix}.seq{index}"
        with torch.no_grad():
            scores = score(model, sequence)
        golden.put(f"{row}.tokens", sequence.tokens)
        golden.put(f"{row}.mask", sequence.mask)
        golden.put(f"{row}.logits", scores.logits)
        golden.put(f"{row}.logprob", scores.logprob)
        golden.put(f"{row}.entropy", scores.entropy)
        if isinstance(model, peft.PeftModel):
            with torch.no_grad(), model.disable_adapter():
                golden.put(f"{row}.base_logits", score(model, sequence).logits)
    loss = sft_loss(model, sequences)
    grads = gradients(model, loss)
    golden.put(f"{prefix}.loss", loss)
    golden.put(f"{prefix}.grad_norm", global_norm(grads))
    golden.put_parameters(f"{prefix}.grad", grads, model.config)
    losses, norms = train(model, sequences, steps)
    golden.put(f"{prefix}.losses", losses)
    golden.put(f"{prefix}.grad_norms", norms)
    golden.put_parameters(f"{prefix}.after", dict(trained(model)), model.config)


def put_grpo(golden: Golden, lora: peft.PeftModel, sequences: list[Sequence]) -> dict[str, dict]:
    """Every loss variant on four sequences of two groups; old logprobs come from a nearby adapter."""
    masks = [s.mask for s in sequences]
    with torch.no_grad():
        with lora.disable_adapter():
            reference = [score(lora, s).logprob for s in sequences]
        saved = {name: parameter.clone() for name, parameter in trained(lora)}
        rng = torch.Generator().manual_seed(SEED + 40)
        for name, parameter in trained(lora):
            if "lora_B" in name:
                parameter.add_(0.025 * torch.randn(parameter.shape, generator=rng))
        old = [score(lora, s).logprob for s in sequences]
        for name, parameter in trained(lora):
            parameter.copy_(saved[name])
    scores = [score(lora, s) for s in sequences]
    advantages = torch.tensor(ADVANTAGES)
    golden.put("grpo.advantages", advantages)
    for index, sequence in enumerate(sequences):
        row = f"grpo.seq{index}"
        golden.put(f"{row}.tokens", sequence.tokens)
        golden.put(f"{row}.mask", sequence.mask)
        golden.put(f"{row}.logprob", scores[index].logprob)
        golden.put(f"{row}.entropy", scores[index].entropy)
        golden.put(f"{row}.old_logprob", old[index])
        golden.put(f"{row}.ref_logprob", reference[index])

    notes = {}
    for name, variant in VARIANTS.items():
        logprobs = [s.logprob for s in scores]
        entropies = [s.entropy for s in scores]
        loss, metrics = policy_loss(variant, logprobs, entropies, old, reference, masks, advantages)
        golden.put(f"grpo.{name}.loss", loss)
        slopes = torch.autograd.grad(loss, logprobs + entropies, retain_graph=True, allow_unused=True)
        for index in range(len(sequences)):
            golden.put(f"grpo.{name}.seq{index}.dloss_dlogprob", slopes[index] * masks[index])
            if variant.entropy_coef:
                slope = slopes[len(sequences) + index]
                golden.put(f"grpo.{name}.seq{index}.dloss_dentropy", slope * masks[index])
        notes[name] = {"settings": asdict(variant), "metrics": metrics, "gradients": name in WITH_GRADIENTS}
        if name in WITH_GRADIENTS:
            grads = gradients(lora, loss)
            golden.put(f"grpo.{name}.grad_norm", global_norm(grads))
            golden.put_parameters(f"grpo.{name}.grad", grads, lora.config)
    # One whole GRPO step: the `grpo` loss, clipping, AdamW.
    loss, _ = policy_loss(
        VARIANTS["grpo"],
        [s.logprob for s in scores],
        [s.entropy for s in scores],
        old,
        reference,
        masks,
        advantages,
    )
    gradients(lora, loss)
    parameters = [parameter for _, parameter in trained(lora)]
    torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM)
    torch.optim.AdamW(parameters, **ADAM).step()
    golden.put_parameters("grpo.after", dict(trained(lora)), lora.config)
    with torch.no_grad():
        for name, parameter in trained(lora):
            parameter.copy_(saved[name])
    return notes


def peft_oracle(lora: peft.PeftModel) -> dict:
    """What PEFT itself writes for this adapter: configuration, and per tensor its shape and some values."""
    with tempfile.TemporaryDirectory() as folder:
        lora.save_pretrained(folder, safe_serialization=True)
        config = json.loads((Path(folder) / "adapter_config.json").read_text())
        tensors = load_file(Path(folder) / "adapter_model.safetensors")
    config["target_modules"] = sorted(config["target_modules"])
    return {
        "about": "PEFT's export of lora-adapter.gguf. Hugging Face layout: lora_B of q_proj and k_proj is "
        "not permuted. `values` are the tensor's first and last four elements in row-major order.",
        "adapter_config": config,
        "tensors": {
            name: {
                "shape": list(tensor.shape),
                "dtype": str(tensor.dtype),
                "sum": float(tensor.astype(np.float64).sum()),
                "values": [float(v) for v in [*tensor.flat[:4], *tensor.flat[-4:]]],
            }
            for name, tensor in sorted(tensors.items())
        },
    }


TOLERANCES = {
    "about": "Suggested bounds for an F32 CPU engine: |ours - golden| <= atol + rtol·max|golden of that tensor|.",
    "logits": {"atol": 1e-4, "rtol": 1e-5},
    "logprob": {"atol": 5e-5, "rtol": 0},
    "entropy": {"atol": 5e-5, "rtol": 0},
    "loss": {"atol": 1e-5, "rtol": 1e-5},
    "grad": {"atol": 1e-7, "rtol": 1e-4},
    "grad_norm": {"atol": 0, "rtol": 1e-4},
    "dloss": {"atol": 1e-7, "rtol": 1e-5},
    "losses": {"atol": 5e-5, "rtol": 0},
    "after": {"atol": 2e-5, "rtol": 1e-5},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this file)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    golden = Golden()
    rng = torch.Generator().manual_seed(SEED + 1)

    base = random_llama(tiny_config(hidden=64, layers=3, heads=4, kv_heads=2, ff=96, tied=False), SEED + 2)
    write_base(out / "lora-base.gguf", base, "golden tiny llama, untied")
    lora = with_lora(base, SEED + 3)
    write_adapter(out / "lora-adapter.gguf", lora, "golden tiny adapter")
    (out / "peft.json").write_text(json.dumps(peft_oracle(lora), indent=2) + "\n")

    prompts = [torch.randint(3, VOCAB, (n,), generator=rng) for n in (7, 5)]
    groups = []
    for group, completion in [(0, 12), (0, 7), (1, 9), (1, 15)]:
        tail = random_sequence(0, completion, rng)
        tokens = torch.cat([prompts[group], tail.tokens])
        groups.append(Sequence(tokens, torch.cat([torch.zeros(len(prompts[group])), tail.mask])))
    variants = put_grpo(golden, lora, groups)
    put_sft(golden, "sft", lora, [random_sequence(6, 23, rng), random_sequence(4, 14, rng)], steps=10)

    tied = random_llama(tiny_config(hidden=32, layers=2, heads=2, kv_heads=1, ff=96, tied=True), SEED + 4)
    write_base(out / "tied-base.gguf", tied, "golden tiny llama, tied")
    put_sft(golden, "full", tied, [random_sequence(1, 19, rng), random_sequence(1, 11, rng)], steps=3)

    save_file(golden.tensors, out / "golden.safetensors", metadata={"format": "reasonsmith-golden"})
    (out / "golden.safetensors").chmod(0o644)
    header = {
        "magic": "reasonsmith-golden",
        "version": FORMAT_VERSION,
        "made_by": {
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "gguf": version("gguf"),
            "safetensors": safetensors.__version__,
            "numpy": np.__version__,
        },
        "seed": SEED,
        "layout": "GGUF names and row order (q and k rows permuted); shapes are row-major, ggml's ne reversed",
        "lora": {"rank": LORA_RANK, "alpha": LORA_ALPHA, "scale": LORA_ALPHA / LORA_RANK},
        "adamw": {**ADAM, "betas": list(ADAM["betas"]), "max_grad_norm": MAX_GRAD_NORM, "decay": "every tensor"},
        "parts": {
            "sft": {"base": "lora-base.gguf", "adapter": "lora-adapter.gguf", "sequences": 2, "steps": 10},
            "full": {"base": "tied-base.gguf", "adapter": None, "sequences": 2, "steps": 3},
            "grpo": {
                "base": "lora-base.gguf",
                "adapter": "lora-adapter.gguf",
                "sequences": 4,
                "steps": 1,
                "groups": [[0, 1], [2, 3]],
                "max_completion": MAX_COMPLETION,
                "variants": variants,
            },
        },
        "tolerances": TOLERANCES,
    }
    (out / "golden.json").write_text(json.dumps(header, indent=1) + "\n")
    size = sum(f.stat().st_size for f in out.iterdir() if f.suffix in {".gguf", ".safetensors", ".json"})
    print(f"wrote {len(golden.tensors)} tensors; golden files take {size / 1e6:.2f} MB in all")
    for name in ("sft", "full"):
        norms = golden.tensors[f"{name}.grad_norms"]
        print(f"{name}: losses {golden.tensors[f'{name}.losses']}, gradient norms {norms}")
    for name, note in variants.items():
        print(f"grpo.{name}: loss {golden.tensors[f'grpo.{name}.loss'][0]:.6f} {note['metrics']}")


if __name__ == "__main__":
    main()
