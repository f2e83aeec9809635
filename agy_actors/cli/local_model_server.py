"""The child process that serves the small model; `agy_actors.cli.local_model` runs it.

It is run by its path and does not import agy_actors, so that it starts quickly.

The parent reads one line from this process's standard output, a JSON object with the ``url`` of
the server, and keeps this process's standard input open. The end of standard input means that the
parent has ended (the system also closes the pipes of a killed process), and ends this process.
No input is processed.

Three settings make such a small model (135 million parameters) usable:

*   **The template.** The harness wraps a prompt in markup and adds the local time, and the model
    takes both for part of the question. The template, which turns messages into the model's input,
    keeps only the user's text, and only the end of a long conversation.
*   **The grammar.** The harness asks for up to 65,535 tokens, regardless of the server's default,
    and the model sometimes never stops. The grammar ends every answer after its first sentence.
*   **Greedy sampling.** At a higher temperature the answers get worse, and a demonstration would
    differ each time. With a repetition penalty the model avoids the correct answer if the
    conversation already contains the word.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
from typing import Any

WINDOW = 32
"""The maximum number of messages before the last one that the model gets: 16 turns. With more,
its answers get worse."""

ROOM = 1500
"""The maximum number of characters in those messages: about 400 tokens of English. With 2.4 tokens
per character, measured for emoji and Chinese, they still fit into the context. The server would
refuse a conversation that does not fit, and each later prompt in it."""

TEMPLATE = (
    (
        "{%- macro said(message) -%}"
        "{%- set text = message['content'] or '' -%}"
        "{%- if '<USER_REQUEST>' in text -%}"
        "{%- set text = text.split('<USER_REQUEST>')[1].split('</USER_REQUEST>')[0] -%}"
        "{%- endif -%}"
        "{%- if '<System>' in text -%}"
        "{%- set text = text.split('<System>')[1].split('</System>')[0] -%}"
        "{%- endif -%}"
        "{{- text | trim -}}"
        "{%- endmacro -%}"
        # Backwards, so that the end of the conversation is kept, starting with a prompt.
        "{%- set last = messages | length - 1 -%}"
        "{%- set kept = namespace(room=ROOM, first=last) -%}"
        "{%- for message in messages[::-1] -%}"
        "{%- if loop.index0 > 0 and loop.index0 <= WINDOW and message['role'] != 'system' -%}"
        "{%- set kept.room = kept.room - (said(message) | length) -%}"
        "{%- if kept.room >= 0 and message['role'] == 'user' -%}"
        "{%- set kept.first = last - loop.index0 -%}"
        "{%- endif -%}"
        "{%- endif -%}"
        "{%- endfor -%}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'system' or loop.index0 >= kept.first -%}"
        "{{- '<|im_start|>' + message['role'] + '\n' + said(message) + '<|im_end|>\n' -}}"
        "{%- endif -%}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
    )
    .replace("WINDOW", str(WINDOW))
    .replace("ROOM", str(ROOM))
)
"""SmolLM2's own template, without the markup that the harness adds."""

GRAMMAR = r'root ::= ([^.!?\n] | "." [^ .!?\n]){1,200} [.!?]'
"""One sentence of at most 200 characters; a point within a number or a name does not end it."""

PROMPT_CACHE_MIB = 512
"""The maximum memory for the state of conversations without a slot. With eight conversations on
four slots it saves at least a third of the time."""

MAX_THREADS = 4
"""More threads gain nothing with such a small model."""


def thread_count(cpus: int) -> int:
    """Return half the number of processors; the agents need the others.

    The threads wait for each other by spinning, about a hundred times per token. If there are more
    threads than free processors, an answer takes half a minute instead of a second. A single
    thread only slows down in proportion.

    Args:
        cpus: the number of processors.
    """
    return max(1, min(MAX_THREADS, cpus // 2))


def serve(weights: str, name: str, slots: int, context: int, *, verbose: bool) -> Any:
    """Start the server on a free port of the loopback interface.

    Args:
        weights: path of the GGUF file.
        name: the model's name in `/v1/models`.
        slots: the number of requests that are answered at once; further ones wait.
        context: tokens per slot, for prompt and answer.
        verbose: whether llama.cpp writes a detailed log to standard error.

    Returns:
        The running server; it ends when it is garbage-collected.
    """
    # Imported here, after SIGINT is ignored, because the import takes a while. Type checkers do not
    # see the names of this compiled module.
    xllamacpp: Any = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {name}  # Otherwise every answer contains a path of this machine.
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.n_parallel = slots
    params.n_ctx = slots * context  # llama.cpp divides it among the slots.
    params.cache_ram_mib = PROMPT_CACHE_MIB
    # With flash attention, rounding depends on the cache, so that the same question in the same
    # conversation sometimes gets a different answer.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = 3 if verbose else 0
    threads = thread_count(_cpus())
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.chat_template = TEMPLATE
    params.sampling.temp = 0.0
    params.sampling.grammar = xllamacpp.CommonGrammar(
        xllamacpp.common_grammar_type.COMMON_GRAMMAR_TYPE_USER, GRAMMAR
    )
    return xllamacpp.Server(params)


def _cpus() -> int:
    """Return the number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> None:
    """Serve until standard input ends."""
    # Ctrl-C at a terminal reaches every process there, but the parent decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = argparse.ArgumentParser()
    options.add_argument("--weights", required=True)
    options.add_argument("--name", required=True)
    options.add_argument("--slots", type=int, required=True)
    options.add_argument("--context", type=int, required=True)
    options.add_argument("--verbose", action="store_true")
    given = options.parse_args()

    # The pipe carries only the line with the address. Other output, also from C++, is the log.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    server = serve(given.weights, given.name, given.slots, given.context, verbose=given.verbose)
    with answer:
        json.dump({"url": server.listening_address}, answer)
        answer.write("\n")

    sys.stdin.buffer.read()
    # Do not return: the server's destructor would wait for running answers, which nobody reads.
    os._exit(0)


if __name__ == "__main__":
    main()
