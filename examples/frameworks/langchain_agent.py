"""pip install langchain-openai"""

import os

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def weather(place: str) -> str:
    """Weather of a place."""
    return f"12 degrees in {place}"


model = ChatOpenAI(model=os.environ["MODEL"], stream_usage=True).bind_tools([weather])
messages = [HumanMessage("How is the weather in Rome?")]
answer = model.invoke(messages)
messages += [answer, *(weather.invoke(call) for call in answer.tool_calls)]
for chunk in model.stream(messages):
    print(chunk.content, end="")
print("", answer.usage_metadata)
