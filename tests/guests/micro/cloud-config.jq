# Turns a cloud-config into calls of nocloud's functions, every word quoted for the shell, in
# cloud-init's order: files, users, files that wait for users, commands. One jq, since each costs
# a third of a second under TCG.

def words: map(tostring) | @sh;
def list: if type == "array" then . else tostring | split(",") end;
def file($path; $mode; $content): "write_file \([$path, $mode, "root:root", $content] | words)";
def file: "write_file \([.path, .permissions // "0644", .owner // "root:root", .content // "", .encoding // ""] | words)";

(.hostname // empty | "set_hostname \([.] | words)"),

(.write_files[]? | select(.defer | not) | file),

(.users[]? | objects
  | "add_user \([.name, (.groups // [] | list | join(","))] + (.ssh_authorized_keys // []) | words)",
    (.name as $name | select(.sudo) | [.sudo] | flatten[] | "add_sudo \(["\($name) \(.)"] | words)")),

(.ssh_keys // empty
  | file("/etc/ssh/ssh_host_ed25519_key"; "0600"; .ed25519_private),
    file("/etc/ssh/ssh_host_ed25519_key.pub"; "0644"; .ed25519_public)),

(.write_files[]? | select(.defer) | file),

# A string is a line of shell, a list is one command and its arguments.
(.runcmd // empty
  | file("/var/lib/cloud/instance/scripts/runcmd"; "0700"; map(if type == "array" then words else . end + "\n") | add // ""))
