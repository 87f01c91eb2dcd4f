"""What the tests say and offer to the model. The fake provider reads `[[fake: ...]]` in the last user text."""

ECHO = "the quick brown fox 7391"
TOOLS = "[[fake: scenario=tools]] What is the weather in Paris?"
PARALLEL = "[[fake: scenario=parallel-tools]] What is the weather in Paris and in Rome?"
REASONING = "[[fake: scenario=reasoning]] Think first."
JSON = "[[fake: scenario=json]] Where?"
LENGTH = "[[fake: scenario=length]] Go on."
RATE_LIMIT = "[[fake: status=429 retry_after=7]] Now."
LONG = "[[fake: n=60]] A long story, please."
MIDSTREAM = "[[fake: error_after=4 n=20]] A story that breaks."

WEATHER = "get_weather"
WEATHER_DOC = "The weather of a city"
WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
    "additionalProperties": False,
}
RESULT = "21 degrees and 4417 clouds"

PLACE_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}
