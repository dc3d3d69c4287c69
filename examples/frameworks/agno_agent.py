"""pip install agno openai"""

import os

from agno.agent import Agent
from agno.models.openai import OpenAILike


def weather(place: str) -> str:
    """Weather of a place."""
    return f"12 degrees in {place}"


model = OpenAILike(id=os.environ["MODEL"], base_url=os.environ["OPENAI_BASE_URL"], api_key=os.environ["OPENAI_API_KEY"])
agent = Agent(model=model, tools=[weather], telemetry=False)
print(agent.run("How is the weather in Rome?").content)
for event in agent.run("How is the weather in Oslo?", stream=True):
    print(event.content or "", end="")
print()
