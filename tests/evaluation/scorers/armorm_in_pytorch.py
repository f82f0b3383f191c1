"""Scores of the small ArmoRM by PyTorch: transformers' Llama and tokenizer, the heads in torch.

    python armorm_in_pytorch.py FOLDER '[["question", "answer"], ...]'

Prints [[19 rewards], overall] for each. Runs by itself, so that the tests need no PyTorch.
"""

import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaModel
from transformers.utils import logging

logging.disable_progress_bar()
folder, pairs = sys.argv[1], json.loads(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder)
config = LlamaConfig.from_pretrained(folder)
config.dtype = torch.float32
model, report = LlamaModel.from_pretrained(
    folder, config=config, dtype=torch.float32, output_loading_info=True
)
assert not report["missing_keys"], report["missing_keys"]

weights = {}
with open(f"{folder}/model.safetensors.index.json") as file:
    parts = set(json.load(file)["weight_map"].values())
for part in parts:
    from safetensors.torch import load_file

    weights.update(load_file(f"{folder}/{part}"))
with open(f"{folder}/config.json") as file:
    temperature = json.load(file)["gating_temperature"]

gate_start = tokenizer.encode(
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n", add_special_tokens=False
)
found = []
for question, answer in pairs:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer.encode(text, add_special_tokens=False)
    with torch.no_grad():
        states = model(torch.tensor([ids])).last_hidden_state[0]
    places = [i for i in range(len(ids)) if ids[i : i + len(gate_start)] == gate_start]
    rewards = torch.nn.functional.linear(states[-1], weights["regression_layer.weight"])
    x = states[places[-1]]
    for layer in range(4):
        x = torch.nn.functional.linear(
            x, weights[f"gating.layers.{layer}.weight"], weights[f"gating.layers.{layer}.bias"]
        )
        x = torch.relu(x) if layer < 3 else x
    gate = torch.softmax(x / temperature, dim=-1) * weights["gating.logit_scale"][0]
    overall = torch.sum(gate * (rewards @ weights["reward_transform_matrix"]))
    found.append([rewards.tolist(), overall.item()])
print(json.dumps(found))
