"""Show an agent a picture: ``python multimodal.py PICTURE``."""

import os
import sys
from pathlib import Path

from google.antigravity import Image, LocalOpenAIAgentConfig, from_file

from agy_actors import Chat, InvalidPrompt, Supervisor

config = LocalOpenAIAgentConfig(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1"),
    model=os.environ.get("OPENAI_MODEL", "gemma3"),
)
path = Path(sys.argv[1])

with Supervisor.start() as supervisor:
    critic = supervisor.create_agent(config, name="critic")

    picture = from_file(path)  # The file's name tells its type: image, document, audio or video.
    print(critic.ask(Chat(["What is in this picture?", picture])).text)

    same = Image(data=path.read_bytes(), mime_type="image/png", description="the same again")
    print(critic.ask(Chat(["Compare these two:", picture, same])).text)

    try:  # An invalid prompt is refused here, before anything is sent.
        critic.ask(Chat(["What is in this picture?", path]))
    except InvalidPrompt as error:
        print("refused:", error)
