#!/usr/bin/env python3
"""Computes the expected costs in crates/catalog/tests/fixtures/costs.json.

    scripts/make_cost_cases.py MODEL_PRICES_JSON

Independent of the Rust code on purpose: it knows no rules. Each case below names, by hand, the fields of
the price list that apply and how many units each prices; the sums are done with Python's Decimal on the
digits of the list. A term is (part, count, field[, factor]); a field `tiered_pricing.1.x` or
`off_peak_pricing.x` descends into the entry.
"""

import json
import sys
from decimal import ROUND_HALF_EVEN, Decimal, getcontext
from pathlib import Path

getcontext().prec = 60
OUT = Path(__file__).resolve().parent.parent / "crates" / "catalog" / "tests" / "fixtures" / "costs.json"
PARTS = ("input", "output", "cache_read", "cache_creation", "reasoning", "tool")

IN, OUTPUT, READ, WRITE = (
    "input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost", "cache_creation_input_token_cost")
HOUR = WRITE + "_above_1hr"
THINK = "output_cost_per_reasoning_token"
SEARCH = "search_context_cost_per_query.search_context_size_"


def plain(key, provider):
    """1234 tokens in, 567 out, no special terms."""
    return case(key, provider, {"input": 1234, "output": 567}, [("input", 1234, IN), ("output", 567, OUTPUT)])


def case(key, provider, usage, terms, **context):
    return {"model": key, "provider": provider, "usage": usage, "terms": terms, "context": context}


CACHED = {"input": 10000, "cache_read": 6000, "cache_write_5m": 1500, "cache_write_1h": 500, "output": 800}


def cached(key, provider, suffix="", hour=HOUR, **context):
    return case(key, provider, CACHED, [
        ("input", 2000, IN + suffix), ("cache_read", 6000, READ + suffix),
        ("cache_creation", 1500, WRITE + suffix), ("cache_creation", 500, hour),
        ("output", 800, OUTPUT + suffix)], **context)


def sized(key, provider, prompt, suffix, **context):
    """A long prompt, half of it cached."""
    half = prompt // 2
    return case(key, provider, {"input": prompt, "cache_read": half, "output": 1000}, [
        ("input", prompt - half, IN + suffix), ("cache_read", half, READ + suffix),
        ("output", 1000, OUTPUT + suffix)], **context)


CASES = [
    # Plain token prices, one per kind of seller.
    plain("gpt-4o", "openai"), plain("azure/gpt-4o", "azure"), plain("azure/eu/gpt-4o-2024-08-06", "azure"),
    plain("claude-sonnet-4-5", "anthropic"), plain("gemini/gemini-2.5-flash", "gemini"),
    plain("vertex_ai/claude-sonnet-4-5", "vertex_ai"), plain("amazon.nova-pro-v1:0", "bedrock"),
    plain("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"), plain("command-a-03-2025", "cohere_chat"),
    plain("mistral/mistral-large-latest", "mistral"), plain("perplexity/pplx-70b-online", "perplexity"),
    plain("databricks/ai_decide", "databricks"), plain("volcengine/doubao-seed-2-1-lite-260915", "volcengine"),
    plain("gemini/gemma-3-27b-it", "gemini"), plain("fireworks-ai-default", "fireworks_ai"),
    plain("together-ai-up-to-4b", "together_ai"), plain("o3", "openai"), plain("gpt-4.1", "openai"),
    case("text-embedding-3-small", "openai", {"input": 8191}, [("input", 8191, IN)]),
    case("databricks/databricks-bge-large-en", "databricks", {"input": 777}, [("input", 777, IN)]),
    # Caches.
    cached("claude-sonnet-4-5", "anthropic"), cached("claude-opus-4-6", "anthropic"),
    cached("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
    case("deepseek/deepseek-chat", "deepseek", {"input": 5000, "cache_read": 3000, "output": 100},
         [("input", 2000, IN), ("cache_read", 3000, READ), ("output", 100, OUTPUT)]),
    # No cache prices: both cost what input costs; at Fireworks reads cost half of it.
    case("perplexity/sonar-pro", "perplexity", {"input": 900, "cache_read": 300, "cache_write_1h": 200, "output": 10},
         [("input", 400, IN), ("cache_read", 300, IN), ("cache_creation", 200, IN), ("output", 10, OUTPUT)]),
    case("fireworks-ai-above-16b", "fireworks_ai", {"input": 1001, "cache_read": 501, "output": 10},
         [("input", 500, IN), ("cache_read", 501, IN, "0.5"), ("output", 10, OUTPUT)]),
    # A write price but no one-hour price.
    case("gpt-5.6", "openai", {"input": 4000, "cache_write_5m": 1000, "cache_write_1h": 1000, "output": 1},
         [("input", 2000, IN), ("cache_creation", 2000, WRITE), ("output", 1, OUTPUT)]),
    # Thresholds: exactly at the limit, just above it, far above.
    sized("gpt-5.5", "openai", 272000, ""), sized("gpt-5.5", "openai", 272001, "_above_272k_tokens"),
    sized("gemini-2.5-pro", "vertex_ai", 200000, ""),
    sized("gemini-2.5-pro", "vertex_ai", 500000, "_above_200k_tokens"),
    sized("claude-haiku-5-5", "anthropic", 100001, "_above_100k_tokens"),
    sized("minimax/MiniMax-M3", "minimax", 512001, "_above_512k_tokens"),
    sized("xai/grok-4.20-beta", "xai", 199999, ""),
    sized("xai/grok-4.20-beta", "xai", 200000, "_above_200k_tokens"),
    case("claude-haiku-5-5", "anthropic",
         {"input": 150000, "cache_read": 50000, "cache_write_5m": 20000, "cache_write_1h": 30000, "output": 9},
         [("input", 50000, IN + "_above_100k_tokens"), ("cache_read", 50000, READ + "_above_100k_tokens"),
          ("cache_creation", 20000, WRITE + "_above_100k_tokens"),
          ("cache_creation", 30000, HOUR + "_above_100k_tokens"), ("output", 9, OUTPUT + "_above_100k_tokens")]),
    # Service tiers, also over a threshold, and the standard price where the tier has none.
    sized("gpt-5.5", "openai", 1000, "_priority", tier="priority"),
    sized("gpt-5.5", "openai", 1000, "_priority", tier="fast"),
    sized("gpt-5.5", "openai", 1000, "_flex", tier="flex"),
    sized("gpt-5.5", "openai", 300000, "_above_272k_tokens_flex", tier="flex"),
    sized("gpt-5.5", "openai", 300000, "_above_272k_tokens", tier="priority"),
    sized("gemini-2.5-pro", "vertex_ai", 300000, "_above_200k_tokens_priority", tier="priority"),
    sized("bedrock_mantle/openai.gpt-6-astra", "bedrock_mantle", 300000, "_above_272k_tokens_ultrafast",
          tier="ultrafast"),
    sized("sail/deepseek-ai/DeepSeek-V4-Flash-0731", "sail", 4000, "_balanced", tier="balanced"),
    sized("gpt-6-luna", "openai", 4000, "_decisions", tier="decisions"),
    sized("gpt-6-luna", "openai", 400000, "_above_272k_tokens_priority", tier="priority"),
    sized("amazon.nova-pro-v1:0", "bedrock", 4000, "_flex", tier="flex"),
    sized("gpt-4o", "openai", 4000, "", tier="flex"),
    # Batches: own price, own price over a threshold, flat batch price over a threshold, half.
    case("gpt-4o", "openai", {"input": 3000, "output": 200},
         [("input", 3000, IN + "_batches"), ("output", 200, OUTPUT + "_batches")], tier="batch"),
    sized("gpt-5.5", "openai", 300000, "_above_272k_tokens_batches", tier="batch"),
    case("gemini-2.5-pro", "vertex_ai", {"input": 300000, "output": 200},
         [("input", 300000, IN + "_batches"), ("output", 200, OUTPUT + "_batches")], tier="batch"),
    case("mistral/mistral-large-latest", "mistral", {"input": 3000, "cache_read": 1000, "output": 201},
         [("input", 2000, IN, "0.5"), ("cache_read", 1000, READ, "0.5"), ("output", 201, OUTPUT, "0.5")],
         tier="batch"),
    case("claude-sonnet-4-5", "anthropic", CACHED,
         [("input", 2000, IN + "_batches"), ("cache_read", 6000, READ + "_batches"),
          ("cache_creation", 1500, WRITE + "_batches"), ("cache_creation", 500, HOUR, "0.5"),
          ("output", 800, OUTPUT + "_batches")], tier="batch"),
    case("mistral/mistral-ocr-2512", "mistral", {},
         [("input", 12, "ocr_cost_per_page_batches"), ("input", 3, "annotation_cost_per_page_batches")],
         tier="batch", units={"pages": 12, "annotated_pages": 3}),
    # Tiers by prompt size.
    case("dashscope/qwen3-max", "dashscope", {"input": 32000, "cache_read": 1000, "output": 50},
         [("input", 31000, "tiered_pricing.0." + IN), ("cache_read", 1000, "tiered_pricing.0." + IN),
          ("output", 50, "tiered_pricing.0." + OUTPUT)]),
    case("dashscope/qwen3-max", "dashscope", {"input": 32001, "output": 50, "reasoning": 20},
         [("input", 32001, "tiered_pricing.1." + IN), ("output", 30, "tiered_pricing.1." + OUTPUT),
          ("reasoning", 20, "tiered_pricing.1." + OUTPUT)]),
    case("dashscope/qwen3-max", "dashscope", {"input": 900000, "output": 50},
         [("input", 900000, "tiered_pricing.2." + IN), ("output", 50, "tiered_pricing.2." + OUTPUT)]),
    case("dashscope/qwen-plus-latest", "dashscope", {"input": 300000, "output": 500, "reasoning": 400},
         [("input", 300000, "tiered_pricing.1." + IN), ("output", 100, "tiered_pricing.1." + OUTPUT),
          ("reasoning", 400, "tiered_pricing.1." + THINK)]),
    case("dashscope/qwen3-coder-flash", "dashscope", {"input": 40000, "cache_read": 30000, "output": 1},
         [("input", 10000, "tiered_pricing.1." + IN), ("cache_read", 30000, "tiered_pricing.1." + READ),
          ("output", 1, "tiered_pricing.1." + OUTPUT)]),
    case("exa_ai/search", "exa_ai", {}, [("input", 2, "tiered_pricing.0.input_cost_per_query")],
         units={"queries": 2, "max_results": 25}),
    case("exa_ai/search", "exa_ai", {}, [("input", 2, "tiered_pricing.1.input_cost_per_query")],
         units={"queries": 2, "max_results": 26}),
    # Off-peak: Monday 2026-11-16 05:00 UTC inside, 07:00 outside; Saturday 07:00 inside.
    case("deepseek-v4-pro", "deepseek", {"input": 5000, "cache_read": 2000, "cache_write_5m": 500, "output": 100},
         [("input", 2500, "off_peak_pricing." + IN), ("cache_read", 2000, "off_peak_pricing." + READ),
          ("cache_creation", 500, WRITE), ("output", 100, "off_peak_pricing." + OUTPUT)],
         unix_seconds=1794805200),
    case("deepseek-v4-pro", "deepseek", {"input": 5000, "cache_read": 2000, "output": 100},
         [("input", 3000, IN), ("cache_read", 2000, READ), ("output", 100, OUTPUT)], unix_seconds=1794812400),
    case("deepseek-v4-pro", "deepseek", {"input": 5000, "output": 100},
         [("input", 5000, "off_peak_pricing." + IN), ("output", 100, "off_peak_pricing." + OUTPUT)],
         unix_seconds=1795244400),
    case("tencent/deepseek-v4-pro-0813", "tencent", {"input": 5000, "output": 100},
         [("input", 5000, IN), ("output", 100, OUTPUT)], unix_seconds=1794812400),
    # Reasoning, audio, image and video tokens.
    case("gemini/gemini-2.5-flash", "gemini",
         {"input": 3000, "input_audio": 1000, "input_image": 500, "output": 900, "reasoning": 700},
         [("input", 2000, IN), ("input", 1000, "input_cost_per_audio_token"), ("output", 200, OUTPUT),
          ("reasoning", 700, THINK)]),
    case("gemini/gemini-2.5-flash", "gemini", {"input": 3000, "input_audio": 1000, "output": 900, "reasoning": 700},
         [("input", 2000, IN + "_priority"), ("input", 1000, "input_cost_per_audio_token_priority"),
          ("output", 200, OUTPUT + "_priority"), ("reasoning", 700, OUTPUT + "_priority")], tier="priority"),
    case("perplexity/sonar-deep-research", "perplexity",
         {"input": 100, "output": 1000, "reasoning": 900, "citation": 4000, "web_searches": 7},
         [("input", 100, IN), ("input", 4000, "citation_cost_per_token"), ("output", 100, OUTPUT),
          ("reasoning", 900, THINK), ("tool", 7, SEARCH + "medium")]),
    case("vertex_ai/gemini-2.5-flash-native-audio", "vertex_ai",
         {"input": 1000, "input_audio": 300, "input_image": 200, "input_video": 100, "output": 50, "output_audio": 40},
         [("input", 400, IN), ("input", 300, "input_cost_per_audio_token"),
          ("input", 200, "input_cost_per_image_token"), ("input", 100, "input_cost_per_video_token"),
          ("output", 10, OUTPUT), ("output", 40, "output_cost_per_audio_token")]),
    case("gpt-image-1", "openai", {"input": 60, "input_image": 40, "output": 4160},
         [("input", 20, IN), ("input", 40, "input_cost_per_image_token"),
          ("output", 4160, "output_cost_per_image_token")], units={"images": 1}),
    case("gpt-image-1.5", "openai", {"input": 60, "output": 4160, "output_image": 4000},
         [("input", 60, IN), ("output", 160, OUTPUT), ("output", 4000, "output_cost_per_image_token")]),
    case("gemini-embedding-2-preview", "vertex_ai", {"input": 500, "input_video": 300},
         [("input", 200, IN + "_batches"), ("input", 300, "input_cost_per_video_token_batches")], tier="batch"),
    # Factors on tokens, not on tools.
    case("claude-opus-5", "anthropic", {"input": 1000, "output": 100, "web_searches": 2},
         [("input", 1000, IN, "2.2"), ("output", 100, OUTPUT, "2.2"), ("tool", 2, SEARCH + "medium")],
         factors=["us", "fast"]),
    case("claude-opus-4-6", "anthropic", {"input": 1000, "output": 100},
         [("input", 1000, IN, "1.1"), ("output", 100, OUTPUT, "1.1")], factors=["us", "fast"]),
    case("gpt-5.5", "openai", {"input": 1003, "output": 7},
         [("input", 1003, IN, "1.1"), ("output", 7, OUTPUT, "1.1")], data_region="eu"),
    case("vertex_ai/claude-sonnet-4-5", "vertex_ai", {"input": 1003, "output": 7},
         [("input", 1003, IN, "1.1"), ("output", 7, OUTPUT, "1.1")], regional_endpoint=True),
    # Web search: each search, or once per grounded request at Google unless billed per query.
    case("perplexity/sonar-pro", "perplexity", {"input": 10, "output": 20, "web_searches": 3},
         [("input", 10, IN), ("output", 20, OUTPUT), ("tool", 3, SEARCH + "high")], search_size="high"),
    case("gemini/gemini-2.5-flash", "gemini", {"input": 10, "output": 20, "web_searches": 3},
         [("input", 10, IN), ("output", 20, OUTPUT), ("tool", 1, SEARCH + "low")], search_size="low"),
    case("vertex_ai/gemini-3-flash-preview", "vertex_ai", {"input": 10, "output": 20, "web_searches": 3},
         [("input", 10, IN), ("output", 20, OUTPUT), ("tool", 3, SEARCH + "medium"),
          ("tool", 2, "google_maps_grounding_cost_per_query")], units={"maps_queries": 2}),
    # Everything that is not a token.
    case("whisper-1", "openai", {}, [("input", "61.5", "input_cost_per_second")], units={"milliseconds": 61500}),
    case("deepgram/nova-3", "deepgram", {}, [("input", "12.345", "input_cost_per_second")],
         units={"milliseconds": 12345}),
    case("tts-1", "openai", {}, [("input", 4096, "input_cost_per_character")], units={"input_characters": 4096}),
    case("azure/sora-2-pro", "azure", {}, [("output", 8, "output_cost_per_video_per_second")],
         units={"video_seconds": 8}),
    case("runwayml/hailuo3", "runwayml", {}, [("output", 6, "output_cost_per_second_1080p")],
         units={"video_seconds": 6, "resolution": "1080p"}),
    case("runwayml/hailuo3", "runwayml", {}, [("output", 6, "output_cost_per_second")],
         units={"video_seconds": 6, "resolution": "720p"}),
    case("multimodalembedding", "vertex_ai", {}, [
        ("input", 2, "input_cost_per_image"), ("input", 10, "input_cost_per_video_per_second_above_8s_interval")],
         units={"input_images": 2, "input_video_seconds": 10}),
    case("fal_ai/fal-ai/nano-banana-2", "fal_ai", {}, [("output", 3, "output_cost_per_image_4K")],
         units={"images": 3, "image_size": "4K"}),
    case("1024-x-1024/gpt-image-1.5", "openai", {}, [("output", 2, "input_cost_per_image")], units={"images": 2}),
    case("azure/high/1024-x-1024/gpt-image-1", "azure", {}, [("input", 1048576, "input_cost_per_pixel")],
         units={"input_pixels": 1048576}),
    case("azure_ai/mistral-ocr-4-0", "azure_ai", {},
         [("input", 12, "ocr_cost_per_page"), ("input", 3, "annotation_cost_per_page")],
         units={"pages": 12, "annotated_pages": 3}),
    case("reducto/parse-legacy", "reducto", {}, [("input", 5, "ocr_cost_per_credit")], units={"credits": 5}),
    case("openai/container", "openai", {}, [("tool", 2, "code_interpreter_cost_per_session")],
         units={"code_sessions": 2}),
    case("xai/grok-voice-2.0", "xai", {},
         [("input", "30", "input_cost_per_second"), ("input", 4, "input_cost_per_text_message")],
         units={"milliseconds": 30000, "text_messages": 4}),
    case("bedrock/ap-northeast-1/1-month-commitment/anthropic.claude-v1", "bedrock", {},
         [("input", "2.5", "cost_per_second")], units={"milliseconds": 2500}),
]

# A fee per call is part of every call to the models that have one.
FEE = {"perplexity/pplx-70b-online": ("input", 1, "input_cost_per_request")}


def dollars(amount):
    """Amounts are booked in units of 1e-12 dollars."""
    return format(amount.quantize(Decimal("1e-12"), ROUND_HALF_EVEN).normalize(), "f")


def field(entry, path):
    parts = path.split(".")
    for part in parts:
        entry = entry[int(part)] if isinstance(entry, list) else entry[part]
    return Decimal(entry)


def solve(one, models):
    entry = models[one["model"]]
    sums = dict.fromkeys(PARTS, Decimal(0))
    terms = one["terms"] + ([FEE[one["model"]]] if one["model"] in FEE else [])
    for part, count, name, *factor in terms:
        sums[part] += Decimal(count) * field(entry, name) * Decimal(factor[0] if factor else 1)
    total = sum(sums.values())
    expected = {part: dollars(value) for part, value in sums.items() if value}
    return {"model": one["model"], "provider": one["provider"], "usage": one["usage"], "context": one["context"],
            "total": dollars(total), "parts": expected}


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    models = json.loads(Path(sys.argv[1]).read_text(), parse_float=str, parse_int=str)
    rows = [json.dumps(solve(one, models)) for one in CASES]
    OUT.write_text("[\n" + ",\n".join(rows) + "\n]\n")
    print(len(rows), "cases,", len({one["model"] for one in CASES}), "models")


if __name__ == "__main__":
    main()
