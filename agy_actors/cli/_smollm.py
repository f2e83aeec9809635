"""The child process that serves the small model; run by `agy_actors.cli._local_model`.

It is run by its path and imports nothing of ours, so that it starts without the library.

Its parent reads one line from its standard output, a JSON object with the ``url`` at
which it listens, and holds its standard input open. End of file there means that the
parent is gone, however it ended (the system closes a killed process's pipes too), and
ends this process. Nothing is ever read from it.

Three things make so small a model (135 million parameters) worth asking:

*   **The template.** The harness wraps a prompt in markup and adds the local time,
    which the model takes for part of the question. The template, which turns messages
    into the model's own text, leaves only what the user wrote, and of a long
    conversation only its end.
*   **The grammar.** The harness asks for up to 65,535 tokens, whatever the server's
    default is, and the model at times never stops. The grammar ends every answer with
    its first sentence.
*   **Greedy sampling.** At any other temperature it strays; and so a demonstration goes
    the same way each time. A penalty on repetition makes it avoid the right answer
    where the conversation already had the word.
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
"""How many messages before the last one the model sees at most: 16 turns. It would lose
its way in more."""

ROOM = 1500
"""How many characters those messages may have. Some 400 tokens of English; at 2.4 tokens
a character, measured for emoji and Chinese, they still fit into the context. A
conversation that outgrew it would be refused, and go on being refused."""

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
        # From the end back: what is kept is the end of the conversation, from a prompt on.
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
"""SmolLM2's own template, with the harness's wrapping taken off."""

GRAMMAR = r'root ::= ([^.!?\n] | "." [^ .!?\n]){1,200} [.!?]'
"""One sentence of at most 200 characters; a point inside a number or a name is no end."""

PROMPT_CACHE_MIB = 512
"""Memory, at most, for the state of conversations that wait while others have the slots.
With eight conversations on four slots it saves a third of the time or more."""

MOST_THREADS = 4
"""More gain nothing on so small a model."""


def thread_count(cpus: int) -> int:
    """Use half the processors, and leave the agents theirs.

    The threads wait for each other by spinning, some hundred times a token: once there
    are more of them than free processors, an answer that takes a second takes half a
    minute. One thread alone is only slowed in proportion.
    """
    return max(1, min(MOST_THREADS, cpus // 2))


def serve(weights: str, name: str, slots: int, context: int, *, verbose: bool) -> Any:
    """Start the server on a free port of the loopback interface.

    Args:
        weights: path of the GGUF file.
        name: what the model is called in `/v1/models`.
        slots: how many requests are answered at once; more wait.
        context: tokens that each slot holds, prompt and answer.
        verbose: whether llama.cpp writes its log to standard error.

    Returns:
        The running server; it ends with its last reference.
    """
    # Only now, with SIGINT ignored: it takes a while. It is a compiled module whose names
    # no type checker sees.
    xllamacpp: Any = importlib.import_module("xllamacpp")

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {name}  # Or else every answer names a path of this machine.
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.ui = False
    params.n_parallel = slots
    params.n_ctx = slots * context  # llama.cpp divides it among the slots.
    params.cache_ram_mib = PROMPT_CACHE_MIB
    # It rounds differently with what is cached already: enough that the same question, in
    # the same conversation, is at times answered otherwise.
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
    """How many processors this process may use, which may be fewer than there are."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> None:
    """Serve until standard input ends."""
    # Ctrl-C in a terminal goes to every process there; when to end is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = argparse.ArgumentParser()
    options.add_argument("--weights", required=True)
    options.add_argument("--name", required=True)
    options.add_argument("--slots", type=int, required=True)
    options.add_argument("--context", type=int, required=True)
    options.add_argument("--verbose", action="store_true")
    given = options.parse_args()

    # The pipe is for our one line: whatever else is printed, by C++ too, is a log.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    server = serve(given.weights, given.name, given.slots, given.context, verbose=given.verbose)
    with answer:
        json.dump({"url": server.listening_address}, answer)
        answer.write("\n")

    sys.stdin.buffer.read()
    # Not a return: taking the server apart waits for the answers it is writing, and
    # nobody is left to read them.
    os._exit(0)


if __name__ == "__main__":
    main()
