"""A published config.json, read key by key: each value checked, its place known, what was not asked for refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from costmodel.importer.json_text import Json, Member
from costmodel.names import listed, near_help
from costmodel.source import Diagnostic, Label, Report, Span

MOST_SIZE = 10**12

# what changes no count, whatever its value: training, generation, tokens, numerics, rotary angles, bookkeeping
HARMLESS = frozenset(
    """
    architectures auto_map transformers_version torch_dtype dtype use_cache return_dict return_dict_in_generate
    output_attentions output_hidden_states output_scores output_router_logits torchscript use_bfloat16 tf_legacy_loss
    attn_implementation use_flash_attn use_flash_attention gradient_checkpointing chunk_size_feed_forward pruned_heads
    is_encoder_decoder is_decoder problem_type finetuning_task id2label label2id num_labels task_specific_params
    tokenizer_class prefix name_or_path model_type use_mambapy use_mamba_kernels use_associative_scan
    max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_p
    top_k typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
    forced_decoder_ids cache_implementation max_new_tokens generation_config
    initializer_range initializer_factor init_std init_method pretraining_tp layerdrop
    rms_norm_eps layer_norm_eps layer_norm_epsilon norm_eps norm_epsilon
    rope_theta rope_scaling rope_parameters rope_interleaved rope_interleave rotary_emb_base rope_local_base_freq
    max_position_embeddings n_ctx original_max_position_embeddings max_sequence_length max_seq_len seq_length
    initial_context_length router_aux_loss_coef router_jitter_noise input_jitter_noise router_z_loss_coef
    aux_loss_alpha seq_aux norm_topk_prob routed_scaling_factor n_group topk_group ep_size
    unsloth_version unsloth_fixed default_theta mm_tokens_per_image
    """.split()
)
_HARMLESS_SHAPES = re.compile(r"_.*|.*_token_ids?|.*_token_index|.*dropout(_prob|_rate)?|.*_pdrop|.*layerdrop")


class Size(NamedTuple):
    """A whole number, where it comes from in words, and where it stands."""

    value: int
    origin: str
    span: Span

    def __str__(self) -> str:
        return str(self.value)


class Config:
    """The keys of one model's config, with what its class has for those that are left out.

    What is wrong is added to the report, and reading goes on with a figure that fits, so that all faults are found.
    `notes` are what the spec has to say of what was read.
    """

    def __init__(
        self,
        members: Mapping[str, Member],
        span: Span,
        config_class: str,
        defaults: Mapping[str, Any],
        report: Report,
        aliases: Mapping[str, str],
        outer: Mapping[str, Member],
        ignored: frozenset[str],
    ) -> None:
        self.members, self.span, self.ignored = members, span, ignored
        self.config_class, self.defaults, self.aliases = config_class, defaults, aliases
        self.report, self.outer = report, outer
        self.used: set[str] = set()
        self.notes: list[str] = []
        self.broken: set[str] = set()

    # --- where a key stands

    def member(self, key: str) -> Member | None:
        """A key's value, under this name or the other one that its class knows; None where it is left out."""
        self.used.add(key)
        found = self.members.get(key)
        other = self.aliases.get(key)
        if other is not None and other in self.members:
            self.used.add(other)
            also = self.members[other]
            if found is None:
                return also
            if found.json.value != also.json.value:
                self.report.add(
                    Diagnostic(
                        "config",
                        f"`{other}` and `{key}` are two names of one thing, and differ",
                        also.json.span,
                        others=(Label(found.json.span, f"`{key}`"),),
                    )
                )
        return found

    def place(self, key: str) -> Span:
        """Where a key's value stands; the start of the config where it is left out."""
        found = self.member(key)
        return found.json.span if found is not None else self.span

    def fault(self, message: str, key: str, facts: tuple[str, ...] = (), others: Iterable[str] = ()) -> None:
        """Something is wrong with a key's value, given others."""
        labels = tuple(Label(self.place(other), f"`{other}`") for other in others if self.member(other) is not None)
        self.broken.add(key)
        self.report.add(Diagnostic("config", message, self.place(key), others=labels, facts=facts))

    def sound(self, *keys: str) -> bool:
        """Whether nothing was wrong with any of these keys so far."""
        return not self.broken & set(keys)

    def left_out(self, key: str) -> bool:
        """Whether a key is left out, or null."""
        found = self.member(key)
        return found is None or found.json.value is None

    def value(self, key: str) -> Any:
        """A key's value as it stands, or what its class has."""
        found = self.member(key)
        return found.json.value if found is not None else self.defaults.get(key)

    def peek(self, key: str) -> Any:
        """The same, without the key being asked for."""
        found = self.members.get(key)
        return found.json.value if found is not None else self.defaults.get(key)

    def origin(self, key: str) -> str:
        """Where a key's value comes from, in words."""
        if self.member(key) is not None:
            return key if key in self.members else self.aliases[key]
        return f"{self.config_class}'s own: no {key} is given"

    # --- values of a kind

    def size(self, key: str, least: int = 1, most: int = MOST_SIZE) -> Size:
        """A whole number, `least` or more."""
        found = self.optional(key, least, most)
        if found is not None:
            return found
        if self.sound(key):
            what = "is null" if self.member(key) is not None else "is missing"
            self.fault(f"`{key}` {what}: {_whole(least)} is needed", key)
        return Size(max(least, 1), key, self.place(key))

    def optional(self, key: str, least: int = 1, most: int = MOST_SIZE) -> Size | None:
        """A whole number; None where the value is null, or the class has none."""
        value = self.value(key)
        if value is None:
            return None
        number = _as_whole(value)
        if number is None or not least <= number <= most:
            said = shown(self.member(key)) if self.member(key) is not None else value
            if number is not None and number > most:
                self.fault(f"`{key}` is {said}: at most {most:,} is possible", key)
            else:
                self.fault(f"`{key}` is {said}: {_whole(least)} is needed", key)
            return None
        return Size(number, self.origin(key), self.place(key))

    def flag(self, key: str) -> bool:
        """True or false; null is false."""
        value = self.value(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            self.fault(f"`{key}` is {shown(self.member(key))}: true or false is needed", key)
            return False
        return value

    def number(self, key: str) -> Fraction | None:
        """A number; None where the value is null, or the class has none."""
        found = self.member(key)
        value = found.json.value if found is not None else self.defaults.get(key)
        if value is None:
            return None
        if found is None:
            return Fraction(str(value))
        if isinstance(value, bool) or not isinstance(value, int | Fraction):
            self.fault(f"`{key}` is {shown(found)}: a number is needed", key)
            return None
        return Fraction(value)

    def word(self, key: str, known: Iterable[str]) -> str:
        """One of a few words; the first where it is none of them, which is a fault."""
        known = tuple(known)
        value = self.value(key)
        if isinstance(value, str) and value in known:
            return value
        near = near_help(value, known) if isinstance(value, str) else ""
        message = f"`{key}` is {shown(self.member(key))}, which is not understood"
        self.broken.add(key)
        self.report.add(Diagnostic("config", message, self.place(key), facts=(f"known is {listed(known)}",), help=near))
        return known[0]

    def words(self, key: str, known: Iterable[str], length: int) -> list[str] | None:
        """A list of so many of a few words; None where it is left out."""
        items = self._list(key, length)
        if items is None:
            return None
        known = tuple(known)
        for item in items:
            if item.value not in known:
                message = f"`{key}` holds {_shown(item)}, which is not understood"
                self._wrong_item(key, item, message, (f"known is {listed(known)}",))
                return None
        return [item.value for item in items]

    def integers(self, key: str, most: int, length: int | None = None) -> list[int] | None:
        """A list of whole numbers from 0 up to `most`; None where it is left out."""
        items = self._list(key, length)
        if items is None:
            return None
        for item in items:
            if type(item.value) is not int or not 0 <= item.value <= most:
                message = f"`{key}` holds {_shown(item)}: whole numbers from 0 to {most:,} are needed"
                self._wrong_item(key, item, message)
                return None
        return [item.value for item in items]

    def _wrong_item(self, key: str, item: Json, message: str, facts: tuple[str, ...] = ()) -> None:
        self.broken.add(key)
        self.report.add(Diagnostic("config", message, item.span, facts=facts))

    def _list(self, key: str, length: int | None) -> list[Json] | None:
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.fault(f"`{key}` is {shown(self.member(key))}: a list is needed", key)
            return None
        if length is not None and len(value) != length:
            self.fault(f"`{key}` has {len(value):,} items, and there are {length:,} layers", key)
            return None
        return value

    # --- what a structure asks for

    def must_be(self, key: str, *allowed: Any, why: str) -> None:
        """A value that the structure depends on and that it only has in one form."""
        value = self.value(key)
        if not any(type(value) is type(one) and value == one for one in allowed):
            self.fault(f"`{key}` is {shown(self.member(key))}: {why}", key)

    def divides(self, part: str, whole: str, part_value: int, whole_value: int) -> bool:
        """Whether one size divides another; a fault where it does not."""
        if not self.sound(part, whole):
            return False
        if whole_value % part_value:
            key, other = (whole, part) if self.member(whole) is not None else (part, whole)
            message = f"`{whole}` is {whole_value:,}, which `{part}` of {part_value:,} does not divide"
            self.fault(message, key, others=[other])
            return False
        return True

    def unused(self, *keys: str) -> None:
        """Keys that have no meaning for this config, whatever they say."""
        self.used.update(keys)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def within(self, key: str) -> Mapping[str, Member]:
        """The members of a key that holds an object; none where it does not."""
        value = self.value(key)
        return value if isinstance(value, dict) else {}

    def inherit(self, key: str) -> None:
        """Take a key over from what the model is a part of, where the part has none."""
        if key not in self.members and key in self.outer:
            self.members = {**self.members, key: self.outer[key]}

    def inherited(self, key: str) -> Member | None:
        """A key that a model's part has, or what it is a part of."""
        found = self.member(key)
        return found if found is not None else self.outer.get(key)

    def whence(self, *keys: str) -> str:
        """The first of these keys that is given, or the class whose rule holds otherwise."""
        given = next((key for key in keys if self.member(key) is not None and self.value(key) not in (None, [])), None)
        return given if given is not None else f"{self.config_class}'s own pattern"

    def leftovers(self, also_harmless: frozenset[str]) -> list[str]:
        """The keys that no count depends on, in their order; those that are not understood are faults.

        A key that nobody asked for is switched off where it is null, false or empty. What another key would do is not
        known, so it is refused.
        """
        passed = []
        for key, member in self.members.items():
            if key in self.used or key == "model_type":
                continue
            harmless = key in HARMLESS or key in also_harmless or key in self.ignored or _HARMLESS_SHAPES.fullmatch(key)
            off = member.json.value is None or member.json.value is False or member.json.value in ("", [], {})
            if harmless or off:
                passed.append(key)
                continue
            known = sorted({*self.defaults, *self.used})
            self.report.add(
                Diagnostic(
                    "config",
                    f"`{key[:80]}` is not understood: what it changes in {self.config_class[:-6]} is not known",
                    member.key,
                    facts=("`costmodel import --ignore KEY` leaves a key out that changes no count",),
                    help=near_help(key, known) if len(key) < 80 else "",
                )
            )
        return passed


def shown(member: Member | None) -> str:
    """A value as it stands in the file, shortened."""
    return _shown(member.json) if member is not None else "left out"


def _shown(json: Json) -> str:
    if isinstance(json.value, dict):
        return "an object"
    if isinstance(json.value, list):
        return "a list" if json.value else "an empty list"
    text = json.span.text
    return text if len(text) <= 40 else f"{text[:20]}…{text[-10:]}"


def _whole(least: int) -> str:
    return f"a whole number, {least} or more,"


def _as_whole(value: Any) -> int | None:
    """A number that is whole, 2.0 too; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        return None
    value = Fraction(value)
    return value.numerator if value.denominator == 1 else None
