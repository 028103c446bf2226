# Rendered from a definition; packer runs in this folder. What differs from run to run is a variable.

variable "record" {
  type = string
}

variable "manifest" {
  type = string
}

# The folder of the product's files.
variable "product" {
  type = string
}

variable "base" {
  type = string
}

variable "key" {
  type = string
}

variable "seed" {
  type = string
}

variable "output" {
  type = string
}

variable "console" {
  type = string
}

variable "accelerator" {
  type = string
}

variable "cpu" {
  type = string
}

variable "cpus" {
  type = number
}

variable "memory" {
  type = number
}

variable "ssh_timeout" {
  type = string
}

source "qemu" "image" {
  # An overlay of the base; it becomes an image of its own when packer is done.
  vm_name          = "disk.qcow2"
  output_directory = var.output
  iso_url          = var.base
  iso_checksum     = "none"
  disk_image       = true
  use_backing_file = true
  skip_compaction  = true
  format           = "qcow2"
  disk_size        = "20G"

  # Newer qemu-img asks for the backing file's format, which packer 1.6.6 does not name.
  qemu_img_args {
    create = ["-F", "qcow2"]
  }

  cpus           = var.cpus
  memory         = var.memory
  disk_interface = "virtio"
  disk_cache     = "unsafe"
  disk_discard   = "unmap"
  net_device     = "virtio-net"
  headless       = true
  disable_vnc    = true
  display        = "none"
  boot_wait      = "1s"

  cd_files = ["${var.seed}/user-data", "${var.seed}/meta-data"]
  cd_label = "cidata"

  # Packer's own forward listens on every address, and its own accelerator is KVM wherever
  # /dev/kvm is. A full disk must reach the guest as an error: by default QEMU pauses it for ever.
  qemuargs = [
    ["-machine", "pc"],
    ["-accel", var.accelerator],
    ["-cpu", var.cpu],
    ["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"],
    ["-serial", "file:${var.console}"],
    ["-global", "virtio-blk-device.werror=report"],
  ]
  host_port_min = 20000
  host_port_max = 29999

  communicator         = "ssh"
  ssh_username         = "builder"
  ssh_private_key_file = var.key
  ssh_timeout          = var.ssh_timeout

  shutdown_command = "sudo sh -c 'sh /var/tmp/kontain/clean.sh && poweroff'"
  shutdown_timeout = "2m"
}

build {
  sources = ["source.qemu.image"]

  # cloud-init holds apt's locks while it works. It ends with 2 for a mere warning.
  provisioner "shell" {
    inline = ["cloud-init status --wait > /dev/null || [ $? -eq 2 ]"]
  }

  provisioner "shell" {
    inline = ["mkdir -m 0755 /var/tmp/kontain"]
  }

  provisioner "file" {
    source      = "provision/"
    destination = "/var/tmp/kontain"
  }

  provisioner "file" {
    source      = var.record
    destination = "/var/tmp/kontain/record.json"
  }

  provisioner "file" {
    source      = join("/", [var.product, "kontain.tar.gz"])
    destination = "/var/tmp/kontain/kontain.tar.gz"
  }

  provisioner "file" {
    source      = join("/", [var.product, "kkm.run"])
    destination = "/var/tmp/kontain/kkm.run"
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh updates"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh packages"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh kernel"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh docker"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh user"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh vagrant"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh product"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh record"]
  }

  post-processor "manifest" {
    output = var.manifest
  }
}
