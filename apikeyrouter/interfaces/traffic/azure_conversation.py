"""One hour of a conversation service in numbers, fitted by `fit` to its public trace.

AzureLLMInferenceTrace_conv, November 2023, Azure Public Dataset, CC-BY 4.0: Patel et al., "Splitwise:
Efficient generative LLM inference using phase splitting", ISCA 2024. The trace itself is not included.
"""

from apikeyrouter.interfaces.traffic.model import TrafficModel

AZURE_CONVERSATION = TrafficModel(
    requests_per_s=5.5304,
    rate_sigma=0.2413,
    rate_memory=0.9807,
    echo_probability=0.1043,
    echo_delay_s=0.434,
    input_quantiles=(
        *(2, 29, 91, 181, 207, 372, 387, 396, 403, 414, 703, 984, 1020, 1045),
        *(1071, 1097, 1130, 1189, 1315, 1876, 2734, 4083, 4098, 4142, 4831, 6179, 14050),
    ),
    output_quantiles=(
        (11, 12, 16, 100, 123, 139, 157, 179, 217, 279, 1000),
        (37, 55, 75, 117, 162, 165, 179, 193, 217, 217, 258),
        (7, 14, 18, 49, 62, 67, 73, 83, 99, 132, 436),
        (24, 50, 67, 82, 88, 92, 95, 102, 121, 153, 199),
        (43, 73, 83, 90, 95, 99, 104, 115, 137, 164, 200),
        (25, 68, 83, 90, 95, 99, 103, 114, 141, 175, 200),
        (10, 39, 63, 85, 94, 100, 111, 152, 413, 465, 739),
        (29, 63, 373, 392, 396, 401, 411, 422, 468, 598, 921),
        (33, 78, 379, 394, 398, 404, 411, 427, 479, 613, 992),
        (44, 82, 378, 394, 400, 409, 415, 429, 494, 624, 1000),
        (28, 84, 377, 393, 398, 407, 414, 429, 500, 627, 1000),
        (29, 46, 365, 391, 397, 404, 412, 427, 500, 613, 992),
        (26, 45, 85, 149, 178, 200, 234, 396, 421, 570, 954),
        (15, 38, 50, 66, 81, 90, 99, 118, 163, 404, 714),
        (17, 28, 37, 48, 64, 75, 87, 113, 146, 193, 494),
        (17, 27, 35, 43, 51, 56, 64, 80, 120, 196, 757),
    ),
)
