"""pip install openai"""

import os

import openai

MODEL = os.environ["MODEL"]
client = openai.OpenAI()

told = client.chat.completions.with_raw_response.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
print(told.parse().choices[0].message.content)
print({name: told.headers[name] for name in ("x-agentpool-cache", "x-agentpool-cost-usd")})

for chunk in client.chat.completions.create(
    model=MODEL,
    messages=[{"role": "user", "content": "Hello"}],
    stream=True,
    extra_headers={"Cache-Control": "no-cache"},
):
    print(chunk.choices[0].delta.content or "", end="")
print()

first = client.responses.create(model=MODEL, input="Hello")
print(client.responses.create(model=MODEL, input="And?", previous_response_id=first.id).output_text)
