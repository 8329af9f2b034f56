"""The columns of request logs in words, in the order in which somebody looks for one."""

from typing import Final

#: By group: (column or conversion, in words).
GROUPS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "Every row needs": (
        ("request_id", "Id of the request"),
        ("ts", "When it came"),
        ("ts_utc", "When it came, without a zone: UTC"),
        ("model", "Model that served it"),
        ("input_tokens", "Input tokens"),
        ("output_tokens", "Output tokens"),
    ),
    "What it cost": (
        ("cost_usd", "Cost in USD"),
        ("cost_usd_rounded", "Cost in USD, with more than nine decimals"),
        ("cost_cents", "Cost in cents"),
        ("baseline_cost_usd", "Cost without any routing, in USD"),
        ("baseline_cost_usd_rounded", "Cost without any routing, with more than nine decimals"),
        ("cached_tokens", "Input tokens that the provider had cached"),
        ("cached", "Whether a cache of the gateway answered"),
        ("cache_layer", "Which cache answered"),
    ),
    "What was asked": (
        ("requested_model", "Model that was asked for"),
        ("tag", "Tag"),
        ("metadata", "Metadata, as a JSON object"),
        ("cluster_key", "Who asked: user, session or customer"),
        ("max_output_tokens", "Most output tokens that were allowed"),
        ("has_images", "Has images"),
        ("has_audio", "Has audio"),
        ("has_documents", "Has documents"),
        ("has_tools", "Has tools"),
        ("is_stream", "Is streamed"),
        ("request_digest", "Digest of the request's body"),
        ("embedding", "Embedding of the request"),
    ),
    "What came of it": (
        ("status", "HTTP status"),
        ("latency_ms", "Latency in milliseconds"),
        ("latency_s", "Latency in seconds"),
        ("upstream_latency_ms", "Latency of the provider in milliseconds"),
        ("upstream_latency_s", "Latency of the provider in seconds"),
        ("finish_reason", "Why the answer ended"),
        ("provider", "Provider"),
        ("kind", "Primary, fallback or shadow"),
    ),
    "How it was decided": (
        ("matched_route_id", "Id of the route"),
        ("reason", "Why that route"),
        ("variant", "Arm of a split"),
        ("decided_version", "Version that decided"),
        ("fact_input_tokens", "Input tokens as the gateway counted them"),
        ("fact_estimated_cost_usd", "Cost as the gateway estimated it, in USD"),
        ("fact_estimated_cost_usd_rounded", "Cost as the gateway estimated it, with more than nine decimals"),
        ("fact_sticky_key", "Key that decides shares"),
        ("fact_upstream_latency_ms_p95", "95th percentile of the provider's latency"),
    ),
    "About the row": (("synthetic", "Columns that are made up"),),
}
WORDS: Final = {name: words for group in GROUPS.values() for name, words in group}
