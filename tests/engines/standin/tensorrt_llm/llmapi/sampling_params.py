# SPDX-License-Identifier: MIT
"""SamplingParams: the fields of tensorrt_llm/sampling_params.py."""

from .. import NUMBERS
from .strict import Strict

NAMES = {
    "max_tokens": 32 if NUMBERS >= (0, 13) else None,
    "seed": None,
    **dict.fromkeys(
        "end_id pad_id bad bad_token_ids stop stop_token_ids embedding_bias logits_processor "
        "best_of top_k top_p top_p_min top_p_reset_ids top_p_decay temperature min_tokens "
        "beam_search_diversity_rate repetition_penalty presence_penalty frequency_penalty "
        "length_penalty early_stopping no_repeat_ngram_size min_p beam_width_array logprobs "
        "prompt_logprobs additional_model_outputs lookahead_config guided_decoding "
        "truncate_prompt_tokens".split()
    ),
    **dict.fromkeys(
        "include_stop_str_in_output apply_batched_logits_processor use_beam_search "
        "return_context_logits return_generation_logits return_encoder_output return_perf_metrics "
        "ignore_eos".split(),
        False,
    ),
    **dict.fromkeys(
        "exclude_input_from_output detokenize add_special_tokens skip_special_tokens "
        "spaces_between_special_tokens".split(),
        True,
    ),
    "n": 1,
}
if NUMBERS < (0, 13):
    NAMES = {
        {"max_tokens": "max_new_tokens", "seed": "random_seed"}.get(k, k): v
        for k, v in NAMES.items()
    }


class SamplingParams(Strict):
    """How tokens are chosen."""

    model_fields = NAMES
