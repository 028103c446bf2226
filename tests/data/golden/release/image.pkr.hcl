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

variable "name" {
  type = string
}

variable "base" {
  type = string
}

variable "key" {
  type = string
}

variable "user_data" {
  type = string
}

variable "security_group" {
  type = string
}

variable "tags" {
  type = map(string)
}

variable "region" {
  type = string
}

variable "endpoint" {
  type = string
}

variable "instance_type" {
  type = string
}

variable "kms_key" {
  type = string
}

variable "subnet" {
  type = string
}

variable "ssh_port" {
  type = number
}

variable "ssh_timeout" {
  type = string
}

variable "poll" {
  type = number
}

variable "polls" {
  type = number
}

source "amazon-ebs" "image" {
  ami_name      = var.name
  source_ami    = var.base
  instance_type = var.instance_type
  region        = var.region

  # Empty means AWS itself.
  custom_endpoint_ec2 = var.endpoint

  subnet_id                   = var.subnet
  security_group_id           = var.security_group
  associate_public_ip_address = true
  user_data_file              = var.user_data

  # Whoever shuts it down from inside, packer or not, leaves nothing that costs.
  shutdown_behavior = "terminate"

  launch_block_device_mappings {
    device_name           = "/dev/sda1"
    volume_type           = "gp3"
    volume_size           = 32
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  run_tags        = var.tags
  run_volume_tags = var.tags
  tags            = var.tags
  snapshot_tags   = var.tags

  # IMDSv2 alone: on this VM, and on all that are started from the image. Two hops let containers ask.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  # Of a large disk EC2 makes an image in an hour. Unless both are set the other one is 40 or 15.
  aws_polling {
    delay_seconds = var.poll
    max_attempts  = var.polls
  }

  communicator         = "ssh"
  ssh_username         = "builder"
  ssh_private_key_file = var.key
  ssh_port             = var.ssh_port
  ssh_timeout          = var.ssh_timeout
}

build {
  sources = ["source.amazon-ebs.image"]

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
    inline = ["sudo sh /var/tmp/kontain/step.sh product"]
  }

  provisioner "shell" {
    inline = ["sudo sh /var/tmp/kontain/step.sh record"]
  }

  # The cloud takes the image of the stopped VM: there is no shutdown command that could do this. It
  # removes the user that packer is logged in as, so nothing can be done after it.
  provisioner "shell" {
    inline     = ["sudo sh /var/tmp/kontain/clean.sh"]
    skip_clean = true
  }

  post-processor "manifest" {
    output = var.manifest
  }
}
