"""Headers as vendors write them, and what becomes of their channels."""

from xml.sax.saxutils import escape


def header(name, stype, sfreq, channels, *, source_id="sid", fmt="float32", desc="", n=None):
    """Return an LSL header; each channel is a dict of its fields as the vendor writes them."""
    rows = "".join(
        f"<channel>{''.join(f'<{k}>{escape(v)}</{k}>' for k, v in c.items())}</channel>"
        for c in channels
    )
    rows = f"<channels>{rows}</channels>" if rows else ""
    return (
        f'<?xml version="1.0"?><info><name>{escape(name)}</name><type>{escape(stype)}</type>'
        f"<channel_count>{n or len(channels)}</channel_count><nominal_srate>{sfreq}</nominal_srate>"
        f"<channel_format>{fmt}</channel_format><source_id>{source_id}</source_id>"
        f"<desc>{desc}{rows}</desc></info>"
    )


def made_by(name):
    return f"<manufacturer>{name}</manufacturer>"


def acquired_with(name):
    return f"<acquisition><manufacturer>{name}</manufacturer></acquisition>"


def channels(labels, unit=None, kind=None, **more):
    rows = [{"label": label} for label in labels]
    for row in rows:
        row |= {k: v for k, v in {"unit": unit, "type": kind, **more}.items() if v is not None}
    return rows


def pupil_capture():
    def one(label, eye, kind, unit):
        return {"label": label, "eye": eye, "type": kind, "unit": unit}

    rows = [one("confidence", "both", "Confidence", "normalized")]
    rows += [one(f"norm_pos_{c}", "both", f"Screen{c.upper()}", "normalized") for c in "xy"]
    rows += [one(f"gaze_point_3d_{c}", "both", f"Direction{c.upper()}", "mm") for c in "xyz"]
    for stem in ("eye_center{}_3d_{}", "gaze_normal{}_{}"):
        for i, eye in enumerate(("right", "left")):
            rows += [one(stem.format(i, c), eye, f"Position{c.upper()}", "mm") for c in "xyz"]
    for dim, unit in (("2d", "pixels"), ("3d", "mm")):
        for i, eye in enumerate(("right", "left")):
            rows.append(one(f"diameter{i}_{dim}", eye, "Diameter", unit))
    version = "<pupil_lsl_relay_version>2.1</pupil_lsl_relay_version>"
    return header("pupil_capture", "Gaze", 0, rows, fmt="double64", desc=version)


def titta():
    rows = []
    for eye in ("left", "right"):
        end, unit = f".{eye}_eye", "normalized"
        rows += [
            *channels([f"{c}.position_on_display_area.gaze_point{end}" for c in "xy"], unit),
            *channels([f"{c}.position_in_user_coordinates.gaze_point{end}" for c in "xyz"], "mm"),
            *channels([f"{w}.gaze_point{end}" for w in ("valid", "available")], "bool"),
            *channels([f"diameter.pupil{end}"], "mm", "Diameter"),
            *channels([f"{w}.pupil{end}" for w in ("valid", "available")], "bool"),
            *channels([f"{c}.position_in_user_coordinates.gaze_origin{end}" for c in "xyz"], "mm"),
            *channels(
                [f"{c}.position_in_track_box_coordinates.gaze_origin{end}" for c in "xyz"], unit
            ),
            *channels([f"{w}.gaze_origin{end}" for w in ("valid", "available")], "bool"),
            *channels([f"diameter.eye_openness{end}"], "mm", "EyeLidDistance"),
            *channels([f"{w}.eye_openness{end}" for w in ("valid", "available")], "bool"),
        ]
    return header("Tobii_gaze", "Gaze", 600, rows, fmt="double64", desc=acquired_with("Tobii"))


def tobii_pro():
    rows = []
    for eye in ("left", "right"):
        for c in "xy":
            rows += channels([f"{eye}_{c}"], "screencoords", f"Screen{c.upper()}", eye=eye)
        rows += channels([f"{eye}_pupil"], None, "pupilsize", eye=eye)
    return header("Tobii", "Eyetracker", 600, rows, desc=acquired_with("TobiiPro"))


def neon():
    rows = channels(["x", "y"])
    for eye in ("left", "right"):
        rows += channels(["PupilDiameter"], eye=eye)
        rows += channels([f"EyeballCenter{c}" for c in "XYZ"], "mm", eye=eye)
    return header("Neon Companion_Neon Gaze", "Gaze", 200, rows)


EYELINK = (
    "leftEyeX",
    "leftEyeY",
    "rightEyeX",
    "rightEyeY",
    "leftPupilArea",
    "rightPupilArea",
    "pixelsPerDegreeX",
    "pixelsPerDegreeY",
    "eyelink_timestamp",
    "LSL_timestamp",
)


MUSE = ("TP9", "AF7", "AF8", "TP10", "Right AUX")


EMOTIV = ("Timestamp", "Counter", "Interpolate", "AF3", "F7", "O1", "Fp1", "Cz")


MAC = "20:16:07:18:13:91"


def emotiv_motion():
    labels = ("Timestamp", "Counter", "Interpolate", "Q0", "Q1", "Q2", "Q3")
    rows = channels(labels) + channels(["ACCX", "ACCY", "ACCZ", "MAGX", "MAGY", "MAGZ"], "a.u.")
    return header("EmotivDataStream-Motion", "Motion", 64, rows, fmt="double64")


def e4(name, stype, sfreq):
    return header(name, stype, sfreq, [], source_id=f"{stype}-empatica_e4", n=1)


HEADERS = {
    "pupil-capture": pupil_capture(),
    "pupil-neon": neon(),
    "tobii-pro": tobii_pro(),
    "titta-lsl": titta(),
    "eyelink": header("EyeLink", "Gaze", 500, channels(EYELINK, None, "eyetracking")),
    "opensignals": header(
        "OpenSignals",
        MAC,
        1000,
        [*channels(["nSeq"], ""), *channels(["EDABITREV0"], "uS"), *channels(["ECG1"], "mV")],
    ),
    "polar-h10": header(
        "Polar H10 D222AB24",
        "ECG",
        130,
        [{"name": "ECG", "unit": "microvolts", "type": "ECG"}],
        desc=made_by("Polar"),
    ),
    "empatica-gsr": e4("gsr", "GSR", 4),
    "empatica-bvp": e4("bvp", "BVP", 64),
    "empatica-temp": e4("temp", "Temp", 4),
    "shimmer": header("SendData_Device_Shimmer_E4B5_Gyro_X", "Gyro_X", 51.2, [], n=1),
    "brainvision-rda": header(
        "BrainVision RDA",
        "EEG",
        500,
        channels(["Fp1", "Cz", "HEOG"], "microvolts", "EEG"),
        desc=acquired_with("Brain Products"),
    ),
    "actichamp": header(
        "actiCHamp-16010042",
        "EEG",
        1000,
        [
            *channels(["Fz", "Cz"], "microvolts", "EEG"),
            *channels(["AUX_1"], "microvolts", "AUX"),
            *channels(["Markers"], "", "Markers"),
            *channels(["SampleCounter"], "", "SampleCounter"),
        ],
        desc=acquired_with("Brain Products"),
    ),
    "biosemi": header(
        "BioSemi",
        "EEG",
        2048,
        [
            *channels(["Sync"], "microvolts", "Sync"),
            *channels(["Trig1"], "microvolts", "Trigger"),
            *channels(["A1", "A2"], "microvolts", "EEG"),
            *channels(["EX1"], "microvolts", "EXG"),
        ],
        desc=acquired_with("BioSemi"),
    ),
    "gtec-gneedaccess": header(
        "NA-2014.07.67",
        "EEG",
        250,
        [
            *channels(["FP1", "CZ"], "uV", "EEG", impedance="0.0"),
            *channels(["ACC X"], "g", "Accelerometer"),
            *channels(["Counter"], "samples", "Counter"),
            *channels(["Battery Level"], "unknown", "BatteryLevel"),
            *channels(["Digital IOs"], "unknown", "DigitalIOs"),
            *channels(["Validation Indicator"], "unknown", "ValidationIndicator"),
        ],
        desc=acquired_with("g.Tec"),
    ),
    "openbci-gui": header("obci_eeg1", "EEG", 250, [], source_id="openbcigui", n=8),
    "muse-lsl": header(
        "Muse", "EEG", 256, channels(MUSE, "microvolts", "EEG"), desc=made_by("Muse")
    ),
    "bluemuse": header(
        "Muse-B1E5 (00:55:da:b3:b1:e5) PPG",
        "PPG",
        64,
        channels(["PPG1", "PPG2", "PPG3"], "mmHg", "PPG"),
        desc=made_by("Interaxon"),
    ),
    "petal": header("PetalStream_eeg", "EEG", 256, channels(["TP9", "AF7", "AF8", "TP10", "AUX"])),
    "emotiv-eeg": header(
        "EmotivDataStream-EEG", "EEG", 128, channels((*EMOTIV, "Markers")), fmt="double64"
    ),
    "emotiv-motion": emotiv_motion(),
}


# Row -> names, units and types of some of its channels afterwards.
EXPECTED = {
    "pupil-capture": {
        "confidence": ("normalized", "validity"),
        "gaze_x": ("normalized", "gaze"),
        "pupil_left": ("mm", "pupil"),
        "diameter_2d_right": ("px", "gaze"),
        "eye_center_3d_z_left": ("mm", "gaze"),
    },
    "pupil-neon": {
        "gaze_y": ("px", "gaze"),
        "pupil_right": ("mm", "pupil"),
        "eye_center_3d_X_left": ("mm", "gaze"),
    },
    "tobii-pro": {"gaze_x_left": ("normalized", "gaze"), "pupil_right": ("mm", "pupil")},
    "titta-lsl": {
        "gaze_y_right": ("normalized", "gaze"),
        "pupil_left": ("mm", "pupil"),
        "pupil_valid_left": ("bool", "validity"),
        "gaze_point_3d_z_right": ("mm", "gaze"),
        "eye_openness_left": ("mm", "gaze"),
    },
    "eyelink": {
        "gaze_x_left": ("px", "gaze"),
        "pupil_right": ("a.u.", "pupil"),
        "eyelink_timestamp": ("ms", "device_time"),
        "LSL_timestamp": ("s", "device_time"),
    },
    "opensignals": {
        "nSeq": ("a.u.", "auxiliary"),
        "EDABITREV0": ("uS", "eda"),
        "ECG1": ("mV", "ecg"),
    },
    "polar-h10": {"ECG": ("uV", "ecg")},
    "empatica-gsr": {"EDA": ("uS", "eda")},
    "empatica-bvp": {"BVP": ("a.u.", "pleth")},
    "empatica-temp": {"TEMP": ("degC", "temperature")},
    "shimmer": {"Gyro_X": ("deg/s", "rotation")},
    "brainvision-rda": {"Cz": ("uV", "eeg"), "HEOG": ("uV", "eog")},
    "actichamp": {
        "Cz": ("uV", "eeg"),
        "AUX_1": ("uV", "auxiliary"),
        "Markers": ("a.u.", "stim"),
        "SampleCounter": ("a.u.", "auxiliary"),
    },
    "biosemi": {
        "Trig1": ("a.u.", "stim"),
        "A1": ("uV", "eeg"),
        "EX1": ("uV", "auxiliary"),
    },
    "gtec-gneedaccess": {
        "CZ": ("uV", "eeg"),
        "ACC X": ("g", "acceleration"),
        "Battery Level": ("a.u.", "auxiliary"),
        "Digital IOs": ("a.u.", "stim"),
        "Validation Indicator": ("a.u.", "validity"),
    },
    "muse-lsl": {"TP9": ("uV", "eeg"), "Right AUX": ("uV", "auxiliary")},
    "bluemuse": {"PPG1": ("a.u.", "pleth")},
    "petal": {"AF7": ("uV", "eeg"), "AUX": ("uV", "auxiliary")},
    "emotiv-eeg": {
        "Timestamp": ("s", "device_time"),
        "Interpolate": ("a.u.", "validity"),
        "AF3": ("uV", "eeg"),
        "Cz": ("uV", "eeg"),
        "Markers": ("a.u.", "stim"),
    },
    "emotiv-motion": {"Q0": ("normalized", "rotation"), "ACCX": ("a.u.", "acceleration")},
}
