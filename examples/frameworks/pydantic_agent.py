"""pip install 'pydantic-ai-slim[openai]'"""

import os

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel

agent = Agent(OpenAIChatModel(os.environ["MODEL"]), instructions="Be brief.")


@agent.tool_plain
def weather(place: str) -> str:
    """Weather of a place."""
    return f"12 degrees in {place}"


done = agent.run_sync("How is the weather in Rome?")
print(done.output, done.usage)
