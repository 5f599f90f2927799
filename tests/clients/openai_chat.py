"""Reads chats with the `openai` package: whole, streamed, cut off and refused.

    python openai_chat.py BASE_URL TOKEN

Prints one line for each check that has passed, and fails at the first that does not.
"""

import asyncio
import sys

import openai

base_url, token = sys.argv[1:]
client = openai.OpenAI(base_url=base_url + "/v1", api_key=token, max_retries=0)
question = [{"role": "user", "content": "hello there"}]
text = "hello there You said that. This answer was prepared, and comes word by word."

whole = client.chat.completions.create(model="canned", messages=question)
assert whole.choices[0].message.content == text, whole
assert whole.choices[0].finish_reason == "stop" and whole.usage.total_tokens > 0, whole
print("a whole answer")

options = {"include_usage": True}
stream = client.chat.completions.create(model="canned", messages=question, stream=True, stream_options=options)
chunks = list(stream)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text, chunks
assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop", chunks
assert chunks[-1].usage.completion_tokens > 0 and not chunks[-1].choices, chunks[-1]
print(f"a stream of {len(chunks)} chunks")


async def read():
    waiting = openai.AsyncOpenAI(base_url=base_url + "/v1", api_key=token, max_retries=0)
    parts = []
    async for chunk in await waiting.chat.completions.create(model="canned", messages=question, stream=True):
        parts.append(chunk.choices[0].delta.content or "")
    return "".join(parts)


assert asyncio.run(read()) == text
print("an asynchronous stream")

failing = [{"role": "user", "content": "fail"}]
try:
    list(client.chat.completions.create(model="canned", messages=failing, stream=True))
    raise SystemExit("a stream with an error event was taken for complete")
except openai.APIError as error:
    assert "asked to fail" in str(error), error
print("an error in the middle of a stream")

for key, messages, expected, told in [
    ("wrong", question, openai.AuthenticationError, "token"),
    (token, None, openai.BadRequestError, "invalid type"),
]:
    refused = openai.OpenAI(base_url=base_url + "/v1", api_key=key, max_retries=0)
    try:
        refused.chat.completions.create(model="canned", messages=messages, stream=True)
        raise SystemExit("a refusal was taken for an answer")
    except expected as error:
        assert told in str(error), error
print("refusals with their status")

leaving = client.chat.completions.create(model="canned", messages=question, stream=True)
next(iter(leaving))
leaving.close()
print("a stream that is not read to its end")
