# Turns a unit into shell: a variable for each setting, a function for each list. It splits words as
# systemd does, for no shell reads a unit: `>` or `*` is a word like any other (systemd.syntax(7)).

function problem(text) { print FILENAME ": " text >"/dev/stderr" }
function fatal(text) { problem(text); failed = 1 }
function shell(text) { gsub(/'/, "'\"'\"'", text); return "'" text "'" }

# The words of a line, in word[1..]; how many there are.
function split_words(line,    i, c, n, quote, open) {
    n = 0; quote = ""; open = 0
    gsub(/%%/, "\001", line)
    if (line ~ /%/) problem("specifiers are not known here: " line)
    gsub(/\001/, "%", line)
    for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        if (quote == "" && c ~ /[ \t]/) { open = 0; continue }
        if (!open) { word[++n] = ""; open = 1 }
        if (c == "\\") {
            c = substr(line, ++i, 1)
            if (c in escape) c = escape[c]
            word[n] = word[n] c
        }
        else if (c == quote) quote = ""
        else if (quote == "" && c ~ /["']/) quote = c
        else word[n] = word[n] c
    }
    return n
}

# A word of a command for the shell. Only ${NAME}, $$ and a word that is $NAME mean something.
function command_word(text,    out, found) {
    if (text ~ /^\$[A-Za-z_][A-Za-z0-9_]*$/) return "${" substr(text, 2) "-}"
    out = ""
    while (match(text, /\$\$|\$\{[A-Za-z_][A-Za-z0-9_]*\}/)) {
        found = substr(text, RSTART, RLENGTH)
        found = found == "$$" ? "'$'" : "\"" substr(found, 1, RLENGTH - 1) "-}\""
        out = out shell(substr(text, 1, RSTART - 1)) found
        text = substr(text, RSTART + RLENGTH)
    }
    return out shell(text)
}

# Seconds of a time span such as `5`, `90s`, `1min 30s` (systemd.time(7)).
function seconds(text,    total, number, unit) {
    if (text == "infinity") return 1000000000
    total = 0
    if (text == "") fatal("no time span")
    while (match(text, /^ *[0-9]+(\.[0-9]+)? *[a-z]*/)) {
        unit = substr(text, 1, RLENGTH)
        text = substr(text, RLENGTH + 1)
        number = unit + 0
        gsub(/[0-9. ]/, "", unit)
        if (!(unit in span)) break
        total += number * span[unit]
    }
    if (text != "") fatal("no time span: " text)
    return total
}

# The moment of `2026-01-31 12:00:00 UTC`, the one form that is known here.
function moment(text) {
    if (text !~ /^[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9] UTC$/)
        fatal("no absolute time in UTC: " text)
    gsub(/[-:]/, " ", text)
    return mktime(substr(text, 1, 19))
}

function whole(number) { return int(number + 0.999) }
function set(name, value) { print name "=" shell(value) }
function add(name, value) { list[name] = list[name] " " value }

# An empty value takes back what was said before.
function setting(name, value,    n, i, line, otherwise) {
    if (name ~ /^(Exec(StartPre|Start|StopPost))$/) {
        if (value == "") { body[name] = ""; return }
        otherwise = "return"
        if (value ~ /^-/) { otherwise = ":"; value = substr(value, 2) }
        if (value ~ /^[@:+!]/) problem("prefix is not known here: " value)
        n = split_words(value)
        line = ""
        for (i = 1; i <= n; i++) {
            if (word[i] == ";") problem("one command a line is known here: " value)
            line = line " " command_word(word[i])
        }
        if (name == "ExecStart" && body[name] == "") set("program", word[1])
        body[name] = body[name] "    ( enter; become" line " ) || " otherwise "\n"
    }
    else if (name == "Environment") {
        if (value == "") variables = ""
        n = split_words(value)
        for (i = 1; i <= n; i++) variables = variables "    variable " shell(word[i]) "\n"
    }
    else if (name == "EnvironmentFile") files = value == "" ? "" : files "    variables " shell(value) " || return\n"
    else if (name == "ConditionPathExists") {
        if (value == "") conditions = ""
        else if (value ~ /^!/) conditions = conditions "    [ ! -e " shell(substr(value, 2)) " ] || return\n"
        else conditions = conditions "    [ -e " shell(value) " ] || return\n"
    }
    else if (name == "OnCalendar") add(name, moment(value))
    else if (name ~ /^On(Active|Boot)Sec$/) add(name, whole(seconds(value)))
    else if (name == "RestartSec") set(name, seconds(value))
    else if (name == "TimeoutStopSec") set(name, whole(seconds(value)))
    else if (name == "KillSignal") { sub(/^SIG/, "", value); set(name, value) }
    else if (name == "Type" && value !~ /^(simple|oneshot)$/) fatal("type is not known here: " value)
    else if (name ~ /^(Type|User|WorkingDirectory|Restart|StandardOutput|Unit)$/) set(name, value)
    # The others change nothing that can be seen here.
}

function known(section, names,    n, i, each) {
    n = split(names, each, " ")
    for (i = 1; i <= n; i++) settings[section "." each[i]]
}

BEGIN {
    escape["n"] = "\n"; escape["t"] = "\t"; escape["s"] = " "
    span[""] = span["s"] = span["sec"] = span["second"] = span["seconds"] = 1
    span["ms"] = span["msec"] = 0.001
    span["m"] = span["min"] = span["minute"] = span["minutes"] = 60
    span["h"] = span["hr"] = span["hour"] = span["hours"] = 3600
    span["d"] = span["day"] = span["days"] = 86400
    known("[Unit]", "ConditionPathExists Description Documentation After Before Wants Requires DefaultDependencies")
    known("[Service]", "Type User WorkingDirectory Environment EnvironmentFile ExecStartPre ExecStart ExecStopPost")
    known("[Service]", "Restart RestartSec KillSignal TimeoutStopSec StandardOutput StandardError")
    known("[Timer]", "OnActiveSec OnBootSec OnCalendar Unit AccuracySec")
    known("[Install]", "WantedBy")
}

/^[ \t]*([#;]|$)/ { next }
{
    line = line $0
    if (sub(/\\$/, " ", line)) next
    if (line ~ /^\[/) section = line
    else {
        at = index(line, "=")
        name = substr(line, 1, at - 1)
        value = substr(line, at + 1)
        gsub(/^[ \t]+|[ \t]+$/, "", name)
        gsub(/^[ \t]+|[ \t]+$/, "", value)
        if (section "." name in settings) setting(name, value)
        else problem("not known here, ignored: " section " " line)
    }
    line = ""
}

END {
    for (name in list) set(name, list[name])
    # As systemd has it: what stands in files wins.
    print "environment() {\n    :\n" variables files "}"
    print "conditions() {\n    :\n" conditions "}"
    split("ExecStartPre ExecStart ExecStopPost", each, " ")
    for (i = 1; i <= 3; i++) print each[i] "() {\n    :\n" body[each[i]] "}"
    exit failed
}
