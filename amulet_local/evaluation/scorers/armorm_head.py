"""What ArmoRM computes after its Llama backbone: 19 rewards, and the gate that weighs them.

RLHFlow/ArmoRM-Llama3-8B-v0.1 (arXiv 2406.12845). Knows nothing about how hidden states come about.
"""

from __future__ import annotations

ATTRIBUTES = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)
"""The rewards' names, in the order of the model's outputs."""
